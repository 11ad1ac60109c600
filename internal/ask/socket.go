// Package ask lets a process answer questions over a UNIX socket, and others
// put them. Questions are HTTP requests; their answers are JSON, or text for
// whoever looks for a mistake.
//
//	curl --unix-socket SOCKET http://x/status
//
// Who may open the socket may ask everything. What is answered is up to the
// process; what it owns in one goroutine is asked in that goroutine (Turns).
package ask

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// Listen opens the socket. One that an earlier process left is replaced.
func Listen(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("remove old socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("open socket: %w", err)
	}
	return l, nil
}

// Serve answers until ctx ends.
func Serve(ctx context.Context, l net.Listener, answers http.Handler) error {
	server := &http.Server{Handler: answers, ReadHeaderTimeout: time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	}
	return nil
}

// JSON answers with v.
func JSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v)
}

// Get puts a question, such as "/status", and reads the answer into v.
func Get(ctx context.Context, socket, question string, v any) error {
	body, err := Open(ctx, socket, question)
	if err != nil {
		return err
	}
	defer body.Close()
	if err := json.NewDecoder(body).Decode(v); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	return nil
}

// Open puts a question and gives the answer as it comes.
func Open(ctx context.Context, socket, question string) (io.ReadCloser, error) {
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
		DisableKeepAlives: true,
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://waggle"+question, nil)
	if err != nil {
		return nil, err
	}
	answer, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		defer answer.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(answer.Body, 1<<12))
		return nil, errors.New(strings.TrimSpace(string(text)))
	}
	return answer.Body, nil
}

// Turns are for the goroutine that owns what is asked about: it receives the
// functions and calls them.
type Turns chan func()

// Take has the owner call f, and returns when it has. False: ctx ended first.
func (t Turns) Take(ctx context.Context, f func()) bool {
	done := make(chan struct{})
	select {
	case t <- func() { defer close(done); f() }:
		<-done
		return true
	case <-ctx.Done():
		return false
	}
}
