package main

import (
	"fmt"
	"net/http"
	"strings"
)

// health makes the requests calls of grpc.health.v1.Health/Check: a frame that
// holds an empty message, which asks for the whole server.
func (o *options) health() {
	o.http2, o.method = true, http.MethodPost
	o.url = strings.TrimSuffix(o.url, "/") + "/grpc.health.v1.Health/Check"
	o.data = "\x00\x00\x00\x00\x00"
	o.headers = append(o.headers, "content-type: application/grpc", "te: trailers")
}

// serving tells why the answer to such a call is none, or not "serving".
func serving(resp *http.Response, body string) error {
	status := resp.Trailer.Get("grpc-status")
	if status == "" {
		status = resp.Header.Get("grpc-status") // of an answer that is headers alone
	}
	if status != "0" {
		return fmt.Errorf("grpc-status %q: %s%s", status, resp.Trailer.Get("grpc-message"), resp.Header.Get("grpc-message"))
	}
	if body != "\x00\x00\x00\x00\x02\x08\x01" {
		return fmt.Errorf("health check answers %q", body)
	}
	return nil
}
