// jsonmock serves a small JSON document at / and the collections it names;
// everything else is not found. It stands for Cilium's json-mock. Port 8080.
// X-Hostname says who answers.
package main

import (
	"log"
	"net/http"
	"os"
	"strings"
)

var collections = map[string]string{
	"posts":    `[{"id":1,"title":"json-server","author":"typicode"}]`,
	"comments": `[{"id":1,"body":"some comment","postId":1}]`,
	"profile":  `{"name":"typicode"}`,
}

func main() {
	hostname, _ := os.Hostname()
	log.Fatal(http.ListenAndServe(":8080", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Hostname", hostname)
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		name := strings.Trim(r.URL.Path, "/")
		if name == "" {
			_, _ = w.Write([]byte(`{"posts":` + collections["posts"] + `,"comments":` + collections["comments"] + `,"profile":` + collections["profile"] + "}\n"))
			return
		}
		text, found := collections[name]
		if !found {
			w.WriteHeader(http.StatusNotFound)
			text = "{}"
		}
		_, _ = w.Write([]byte(text + "\n"))
	})))
}
