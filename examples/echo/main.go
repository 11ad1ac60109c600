// Command echo is a backend to try things with: it answers every request
// with a description of the request as it arrived.
//
//	go run ./examples/echo echo-1=127.0.0.1:18081 echo-2=127.0.0.1:18082
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

const usage = `Usage: echo NAME=ADDRESS...

Answers every HTTP request to an ADDRESS with its NAME and the request as it
arrived, in plain text.

  echo echo-1=127.0.0.1:18081 echo-2=127.0.0.1:18082`

func main() {
	if len(os.Args) < 2 || strings.HasPrefix(os.Args[1], "-") {
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	failed := make(chan error)
	for _, arg := range os.Args[1:] {
		name, address, ok := strings.Cut(arg, "=")
		if !ok {
			log.Fatalf("%q is not NAME=ADDRESS", arg)
		}
		server := &http.Server{Addr: address, Handler: echo(name), ReadHeaderTimeout: 10 * time.Second}
		context.AfterFunc(ctx, func() { server.Close() })
		go func() { failed <- server.ListenAndServe() }()
	}
	for range os.Args[1:] {
		if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
			log.Fatal(err)
		}
	}
}

// echo describes the request in the form of the Kubernetes project's
// echoserver image.
func echo(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		if err != nil {
			return // the client has gone
		}
		fmt.Fprintf(w, "\nHostname: %s\n", name)
		fmt.Fprintf(w, "\nRequest Information:\n\tclient_address=%s\n\tmethod=%s\n\treal path=%s\n\tquery=%s\n\trequest_version=%d.%d\n\trequest_uri=http://%s%s\n",
			r.RemoteAddr, r.Method, r.URL.EscapedPath(), r.URL.RawQuery, r.ProtoMajor, r.ProtoMinor, r.Host, r.URL.RequestURI())
		fmt.Fprint(w, "\nRequest Headers:\n")
		headers := []string{"host=" + r.Host}
		for key, values := range r.Header {
			headers = append(headers, strings.ToLower(key)+"="+strings.Join(values, ", "))
		}
		slices.Sort(headers)
		for _, h := range headers {
			fmt.Fprintf(w, "\t%s\n", h)
		}
		fmt.Fprintf(w, "\nRequest Body:\n\t%s\n", body)
	}
}
