package main

import (
	"cmp"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"os"
	"time"
)

//go:embed productpage.html
var files embed.FS

var page = template.Must(template.ParseFS(files, "productpage.html"))

// passed are the headers that a service hands on to those it calls.
var passed = []string{
	"X-Request-Id", "X-Ot-Span-Context", "X-Datadog-Trace-Id", "X-Datadog-Parent-Id", "X-Datadog-Sampling-Priority",
	"Traceparent", "Tracestate", "X-Cloud-Trace-Context", "Grpc-Trace-Bin",
	"X-B3-Traceid", "X-B3-Spanid", "X-B3-Parentspanid", "X-B3-Sampled", "X-B3-Flags",
	"Sw8", "End-User", "User-Agent", "Cookie", "Authorization", "Jwt",
}

var client = &http.Client{Timeout: 3 * time.Second}

// address is the URL of another service: the variable names its host, with or without a port.
func address(variable, name string) string {
	host := cmp.Or(os.Getenv(variable), name)
	if _, _, err := net.SplitHostPort(host); err == nil {
		return "http://" + host
	}
	if d := os.Getenv("SERVICES_DOMAIN"); d != "" {
		host += "." + d
	}
	return "http://" + net.JoinHostPort(host, "9080")
}

// get asks another service and returns its status.
func get(r *http.Request, url string, into any) (int, error) {
	req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, url, nil)
	if err != nil {
		return http.StatusInternalServerError, err
	}
	for _, h := range passed {
		if v := r.Header.Values(h); len(v) > 0 {
			req.Header[h] = v
		}
	}
	resp, err := client.Do(req)
	if err != nil {
		return http.StatusInternalServerError, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return resp.StatusCode, fmt.Errorf("%s: %s", url, resp.Status)
	}
	return resp.StatusCode, json.NewDecoder(resp.Body).Decode(into)
}

var product = object{
	"id": 0, "title": "The Comedy of Errors",
	"descriptionHtml": "Wikipedia Summary: The Comedy of Errors is one of <b>William Shakespeare's</b> early plays.",
}

func productpage(mux *http.ServeMux) {
	health(mux, "Product page")
	mux.HandleFunc("GET /productpage", showPage)
	mux.HandleFunc("GET /{$}", showPage)
	mux.HandleFunc("GET /api/v1/products", func(w http.ResponseWriter, r *http.Request) {
		reply(w, http.StatusOK, []object{product})
	})
	for path, to := range map[string]string{
		"/api/v1/products/{id}":         address("DETAILS_HOSTNAME", "details") + "/details/",
		"/api/v1/products/{id}/reviews": address("REVIEWS_HOSTNAME", "reviews") + "/reviews/",
		"/api/v1/products/{id}/ratings": address("RATINGS_HOSTNAME", "ratings") + "/ratings/",
	} {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			n, ok := id(w, r)
			if !ok {
				return
			}
			var v any
			status, err := get(r, fmt.Sprintf("%s%d", to, n), &v)
			if err != nil {
				v = object{"error": err.Error()}
			}
			reply(w, status, v)
		})
	}
}

type review struct {
	Reviewer, Text string
	Rating         *struct {
		Stars        int
		Color, Error string
	}
}

// showPage asks details and reviews; what is not available is said on the page.
func showPage(w http.ResponseWriter, r *http.Request) {
	var data struct {
		Title         string
		Details       map[string]any
		DetailsStatus int
		Podname       string
		Reviews       []review
		ReviewsStatus int
	}
	data.Title = product["title"].(string)
	data.DetailsStatus, _ = get(r, address("DETAILS_HOSTNAME", "details")+"/details/0", &data.Details)
	var rs struct {
		Podname string
		Reviews []review
	}
	data.ReviewsStatus, _ = get(r, address("REVIEWS_HOSTNAME", "reviews")+"/reviews/0", &rs)
	data.Podname, data.Reviews = rs.Podname, rs.Reviews
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if err := page.Execute(w, data); err != nil {
		fmt.Fprintln(w, err)
	}
}
