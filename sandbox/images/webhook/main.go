// webhook is an admission webhook that denies everything. It serves HTTPS on
// port 8443 with /tls/tls.crt and /tls/tls.key.
//
// https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/
package main

import (
	"encoding/json"
	"log"
	"net/http"
)

type object = map[string]any

func main() {
	log.Fatal(http.ListenAndServeTLS(":8443", "/tls/tls.crt", "/tls/tls.key", http.HandlerFunc(deny)))
}

func deny(w http.ResponseWriter, r *http.Request) {
	var review struct {
		Request struct {
			UID string `json:"uid"`
		} `json:"request"`
	}
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(object{
		"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
		"response": object{"uid": review.Request.UID, "allowed": false, "status": object{"message": "denied by the webhook in a pod"}},
	})
}
