// bookinfo is the four services of Istio's sample application in one program:
// the first argument says which it is. They speak HTTP on port 9080 and pass on
// the headers of tracing and of the sample's tests.
//
// Environment: SERVICE_VERSION (v1), ENABLE_RATINGS and STAR_COLOR of reviews,
// DETAILS_HOSTNAME, RATINGS_HOSTNAME, REVIEWS_HOSTNAME, SERVICES_DOMAIN.
//
// https://istio.io/latest/docs/examples/bookinfo/
package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"strconv"
)

func main() {
	services := map[string]func(*http.ServeMux){
		"details": details, "ratings": ratings, "reviews": reviews, "productpage": productpage,
	}
	if len(os.Args) < 2 || services[os.Args[1]] == nil {
		log.Fatal("usage: bookinfo details|ratings|reviews|productpage")
	}
	mux := http.NewServeMux()
	services[os.Args[1]](mux)
	log.Fatal(http.ListenAndServe(":"+cmp.Or(os.Getenv("PORT"), "9080"), mux))
}

type object = map[string]any

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func health(mux *http.ServeMux, name string) {
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, r *http.Request) {
		reply(w, http.StatusOK, object{"status": name + " is healthy"})
	})
}

// id reads the product's number from the path; it answers itself if there is none.
func id(w http.ResponseWriter, r *http.Request) (int, bool) {
	n, err := strconv.Atoi(r.PathValue("id"))
	if err != nil {
		reply(w, http.StatusBadRequest, object{"error": "please provide numeric product ID"})
	}
	return n, err == nil
}

func details(mux *http.ServeMux) {
	health(mux, "Details")
	mux.HandleFunc("GET /details/{id}", func(w http.ResponseWriter, r *http.Request) {
		n, ok := id(w, r)
		if !ok {
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"id":%d,"author":"William Shakespeare","year":1595,"type":"paperback","pages":200,"publisher":"PublisherA","language":"English","ISBN-10":"1234567890","ISBN-13":"123-1234567890"}`, n)
	})
}

func ratings(mux *http.ServeMux) {
	health(mux, "Ratings")
	mux.HandleFunc("GET /ratings/{id}", func(w http.ResponseWriter, r *http.Request) {
		if n, ok := id(w, r); ok {
			reply(w, http.StatusOK, object{"id": n, "ratings": object{"Reviewer1": 5, "Reviewer2": 4}})
		}
	})
}

func reviews(mux *http.ServeMux) {
	health(mux, "Reviews")
	mux.HandleFunc("GET /reviews/{id}", func(w http.ResponseWriter, r *http.Request) {
		if _, ok := id(w, r); !ok {
			return
		}
		list := []object{
			{"reviewer": "Reviewer1", "text": "An extremely entertaining play by Shakespeare. The slapstick humour is refreshing!"},
			{"reviewer": "Reviewer2", "text": "Absolutely fun and entertaining. The play lacks thematic depth when compared to other plays by Shakespeare."},
		}
		if os.Getenv("ENABLE_RATINGS") == "true" {
			rate(r, list)
		}
		hostname, _ := os.Hostname()
		reply(w, http.StatusOK, object{"id": r.PathValue("id"), "podname": hostname, "clustername": os.Getenv("CLUSTER_NAME"), "reviews": list})
	})
}

// rate asks the ratings service for stars.
func rate(r *http.Request, list []object) {
	var got struct{ Ratings map[string]int }
	_, err := get(r, address("RATINGS_HOSTNAME", "ratings")+"/ratings/"+r.PathValue("id"), &got)
	for _, review := range list {
		if err != nil {
			review["rating"] = object{"error": "Ratings service is currently unavailable"}
			continue
		}
		review["rating"] = object{"stars": got.Ratings[review["reviewer"].(string)], "color": cmp.Or(os.Getenv("STAR_COLOR"), "black")}
	}
}
