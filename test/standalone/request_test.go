package standalone_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// answer is what a client got, and what the backend had seen if one did.
type answer struct {
	Status  int
	Header  http.Header
	Body    string
	Backend string // its name; empty if none answered
	Seen    *seen
}

// by names the backend that answered with 200, or the status, or both.
func (a *answer) by() string {
	switch {
	case a.Backend == "":
		return strconv.Itoa(a.Status)
	case a.Status != 200:
		return fmt.Sprintf("%d %s", a.Status, a.Backend)
	}
	return a.Backend
}

// newClient makes a client that knows the site alone. It follows no
// redirects. With a TLS configuration it speaks HTTPS.
func (m *site) newClient(config *tls.Config) *http.Client {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", m.where(address))
		},
		TLSClientConfig: config, DisableCompression: true, MaxIdleConnsPerHost: 8,
	}
	m.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport: transport, Timeout: patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// counting makes a client that counts the connections it opens.
func (m *site) counting() (*http.Client, *atomic.Int32) {
	client, dials := m.newClient(nil), new(atomic.Int32)
	transport := client.Transport.(*http.Transport)
	dial := transport.DialContext
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		dials.Add(1)
		return dial(ctx, network, address)
	}
	return client, dials
}

// request makes a request of a line such as
//
//	POST http://a.example.com:8080/path | X-Color: red | Host: other
//
// where the method, the scheme with the host, and the headers may be left
// out. The port is the listener's: the offset is added, as clients have to.
func (m *site) request(line string) (*http.Request, error) {
	line, headers, _ := strings.Cut(line, " | ")
	method, address, ok := strings.Cut(strings.TrimSpace(line), " ")
	if !ok {
		method, address = "GET", method
	}
	if strings.HasPrefix(address, "/") {
		address = "http://" + m.address.String() + address
	}
	r, err := http.NewRequest(method, strings.TrimSpace(address), nil)
	if err != nil {
		return nil, err
	}
	if port, err := strconv.Atoi(r.URL.Port()); err == nil {
		r.Host = net.JoinHostPort(r.URL.Hostname(), strconv.Itoa(port+m.options.PortOffset))
	}
	for header := range strings.SplitSeq(headers, " | ") {
		name, value, _ := strings.Cut(header, ":")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if name == "Host" {
			r.Host = value
		} else if name != "" {
			r.Header[name] = append(r.Header[name], value)
		}
	}
	return r, nil
}

// try sends a request and reads the answer.
func (m *site) try(client *http.Client, line string) (*answer, error) {
	r, err := m.request(line)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(r)
	if err != nil {
		var of *url.Error
		if errors.As(err, &of) {
			err = of.Err
		}
		return nil, err
	}
	return read(response)
}

// get sends a request that must be answered.
func (m *site) get(line string) *answer {
	m.t.Helper()
	a, err := m.try(m.client, line)
	if err != nil {
		m.t.Fatal(m.explain(fmt.Errorf("%s: %w", line, err)))
	}
	return a
}

func read(response *http.Response) (*answer, error) {
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	a := &answer{Status: response.StatusCode, Header: response.Header, Body: string(body), Backend: response.Header.Get(nameHeader)}
	if a.Backend != "" && len(body) > 0 {
		a.Seen = &seen{}
		if err := json.Unmarshal(body, a.Seen); err != nil {
			return nil, fmt.Errorf("body %q: %w", body, err)
		}
	}
	return a, nil
}

// raw sends bytes that no library would, to the listener on port 80.
func (m *site) raw(text string) *answer {
	m.t.Helper()
	connection, err := net.Dial("tcp", m.where(""))
	if err != nil {
		m.t.Fatal(err)
	}
	defer connection.Close()
	connection.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(connection, text); err != nil {
		m.t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil {
		m.t.Fatalf("%q: %v", text, err)
	}
	a, err := read(response)
	if err != nil {
		m.t.Fatalf("%q: %v", text, err)
	}
	return a
}

// awaitRefusal waits until nobody listens on the port of "x:80".
func (m *site) awaitRefusal(hostport string) {
	m.t.Helper()
	err := poll(func() error {
		c, err := net.Dial("tcp", m.where(hostport))
		if err != nil {
			return nil
		}
		c.Close()
		return errors.New("the listener is still there")
	})
	if err != nil {
		m.t.Fatal(m.explain(err))
	}
}

// expectation is one line of a table, see answers.
type expectation struct{ request, want string }

func expectations(table string) (all []expectation) {
	for line := range strings.SplitSeq(strings.TrimSpace(table), "\n") {
		request, want, ok := strings.Cut(line, "→")
		if !ok {
			panic("no → in " + line)
		}
		all = append(all, expectation{strings.TrimSpace(request), strings.TrimSpace(want)})
	}
	return all
}

// answers waits until all requests of a table are answered as it says, by
// then twice in a row. Left of the arrow stands a request, see request; right
// of it the backend that answers, or a status with, for redirects, the
// Location.
//
//	POST /a | X-Color: red  → red
//	http://b.example.com/   → 302 http://c.example.com/
func (m *site) answers(table string) {
	m.t.Helper()
	m.answersTo(m.client, table)
}

// answersTo is answers to a client other than the site's.
func (m *site) answersTo(client *http.Client, table string) {
	m.t.Helper()
	all := expectations(table)
	err := poll(func() error { return m.check(client, all) })
	if err == nil {
		err = m.check(client, all)
	}
	if err != nil {
		m.t.Fatal(m.explain(err))
	}
}

func (m *site) check(client *http.Client, all []expectation) (failed error) {
	for _, e := range all {
		got := ""
		if a, err := m.try(client, e.request); err != nil {
			got = err.Error()
		} else if got = a.by(); a.Header.Get("Location") != "" {
			got += " " + a.Header.Get("Location")
		}
		if got != e.want {
			failed = errors.Join(failed, fmt.Errorf("%s → %s, want %s", e.request, got, e.want))
		}
	}
	return failed
}

// shares says who answers how many of n requests, in percent.
func (m *site) shares(n int, line string) (map[string]float64, error) {
	out := map[string]float64{}
	for range n {
		a, err := m.try(m.client, line)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", line, err)
		}
		out[a.by()] += 100 / float64(n)
	}
	return out, nil
}

// expectShares waits until all of some answers are among those that want
// names, and then compares the shares of n answers, in percent. They may be
// off by what chance alone exceeds once in 100,000 times: with 2,000 requests
// that is 5 points.
func (m *site) expectShares(n int, line string, want map[string]float64) {
	m.t.Helper()
	err := poll(func() error {
		got, err := m.shares(30, line)
		return errors.Join(err, strangers(line, got, want))
	})
	if err != nil {
		m.t.Fatal(m.explain(err))
	}
	got, err := m.shares(n, line)
	if err = errors.Join(err, strangers(line, got, want)); err != nil {
		m.t.Fatal(m.explain(err))
	}
	for by, share := range want {
		if math.Abs(got[by]-share) > 225/math.Sqrt(float64(n)) {
			m.t.Errorf("%s: %s answers %.1f %%, want %.0f; all: %v", line, by, got[by], share, got)
		}
	}
}

// strangers are those that answer and are not wanted.
func strangers(line string, got, want map[string]float64) error {
	for by := range got {
		if want[by] == 0 {
			return fmt.Errorf("%s is answered by %s", line, by)
		}
	}
	return nil
}

// only keeps those headers whose names are given.
func only(h http.Header, names ...string) http.Header {
	out := http.Header{}
	for name, values := range h {
		if slices.Contains(names, name) {
			out[name] = values
		}
	}
	return out
}
