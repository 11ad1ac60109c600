package cluster

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/waggle-mesh/waggle/test/nodes"
)

// Object is an object of the API server's, or a part of one.
type Object = map[string]any

// API is the least of a client: JSON over HTTPS, as administrator.
type API struct {
	http  *http.Client
	url   string
	token string
}

// newAPI makes one that connects from a machine.
func newAPI(from *nodes.Machine, url, token string) *API {
	return &API{url: url, token: token, http: &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		DialContext:         func(_ context.Context, _, address string) (net.Conn, error) { return Dial(from, address) },
		TLSClientConfig:     &tls.Config{InsecureSkipVerify: true}, // it has made its certificate itself
		MaxIdleConnsPerHost: 2 * workers,
	}}}
}

// Dial connects from a machine to an address.
func Dial(from *nodes.Machine, address string) (conn net.Conn, err error) {
	err = from.Within(func() error {
		conn, err = net.DialTimeout("tcp", address, 10*time.Second)
		return err
	})
	return conn, err
}

// Create files a new object in a collection: "/api/v1/nodes".
func (a *API) Create(collection string, o Object) error {
	return a.do(http.MethodPost, collection, o, nil)
}

// Patch merges fields into an object.
func (a *API) Patch(path string, o Object) error { return a.do(http.MethodPatch, path, o, nil) }

// Delete removes an object.
func (a *API) Delete(path string) error { return a.do(http.MethodDelete, path, nil, nil) }

// Get reads an object.
func (a *API) Get(path string, into any) error { return a.do(http.MethodGet, path, nil, into) }

func (a *API) do(method, path string, o Object, into any) error {
	var body io.Reader
	if o != nil {
		text, err := json.Marshal(o)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
	}
	r, err := http.NewRequest(method, a.url+path, body)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+a.token)
	r.Header.Set("User-Agent", "bench")
	r.Header.Set("Content-Type", "application/json")
	if method == http.MethodPatch {
		r.Header.Set("Content-Type", "application/merge-patch+json")
	}
	answer, err := a.http.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if answer.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s: %s", method, path, answer.Status, text)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(text, into)
}

// workers are how many requests are under way at once where there are many.
const workers = 8

// Each calls f for 0 to n-1, several at once. It gives the first error.
func Each(ctx context.Context, n int, f func(i int) error) error {
	var next atomic.Int64
	var all sync.WaitGroup
	errs := make(chan error, workers)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for range workers {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				if err := f(i); err != nil {
					errs <- err
					cancel()
					return
				}
			}
		})
	}
	all.Wait()
	close(errs)
	if err := <-errs; err != nil {
		return err
	}
	return ctx.Err()
}

// Until asks f every so often until it gives no error.
func Until(ctx context.Context, patience time.Duration, what string, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: not within %s: %w", what, patience, err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}
