package e2e

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Request is what a Source asks for. The zero value of every field but URL is
// the usual: one GET over HTTP/1.1 on a connection of its own, within 5 s,
// redirects shown and not followed.
type Request struct {
	URL       string // http, https or tcp
	Method    string
	Host      string            // Host header, if not the URL's
	Headers   map[string]string // beside it
	Body      string
	Connect   string        // HOST:PORT to connect to, if not the URL's
	From      string        // local address, which must be the source's
	CA        string        // PEM text of certificates to trust
	SNI       string        // TLS server name, if not the URL's host
	Insecure  bool          // trust any certificate
	HTTP2     bool          // HTTP/2, without TLS from the start
	GRPC      bool          // a gRPC health check over HTTP/2; whatever the server does not serve is an error
	KeepAlive bool          // use a connection again
	Follow    bool          // follow redirects
	Timeout   time.Duration // of each request; 0: 5 s
	Count     int           // number of requests; 0: one
	Workers   int           // requests at a time; 0: one
	Rate      float64       // requests a second; 0: as fast as they are answered
}

func (r Request) args() []string {
	a := []string{"-n", strconv.Itoa(max(r.Count, 1)), "-c", strconv.Itoa(max(r.Workers, 1)), "-rate", fmt.Sprint(r.Rate), "-timeout", cmp.Or(r.Timeout, 5*time.Second).String()}
	for _, f := range []struct{ name, value string }{
		{"-method", r.Method}, {"-host", r.Host}, {"-data", r.Body}, {"-connect", r.Connect}, {"-source", r.From}, {"-ca", r.CA}, {"-sni", r.SNI},
	} {
		if f.value != "" {
			a = append(a, f.name, f.value)
		}
	}
	for name, on := range map[string]bool{"-insecure": r.Insecure, "-http2": r.HTTP2, "-grpc": r.GRPC, "-keepalive": r.KeepAlive, "-follow": r.Follow} {
		if on {
			a = append(a, name)
		}
	}
	for k, v := range r.Headers {
		a = append(a, "-H", k+": "+v)
	}
	return append(a, r.URL)
}

// Response is what one request has come to.
type Response struct {
	Start   time.Time
	Millis  float64 `json:"ms"` // until the body's end
	Status  int     // 0: no response, see Error
	Proto   string
	Headers http.Header
	Body    string
	Error   string
	Local   string // address and port of the client
	Remote  string // of what it connected to
	Server  string // whom the server's certificate names
}

// Responses are in the order in which they ended.
type Responses []Response

// Source is a place that requests are made from.
type Source struct {
	t    *Test
	name string
	argv []string // what runs the probe there
}

// From is a place outside of pods: "ext", the client outside of the cluster;
// "host", the machine; or a node.
func (c *Test) From(place string) *Source {
	if place == "host" {
		return &Source{c, place, []string{sandbox.probe}}
	}
	return &Source{c, place, []string{sandbox.program, "exec", place, sandbox.probe}}
}

// Client runs a pod to make requests from, on a node ("": any), and waits for it.
// Labels are key=value.
func (c *Test) Client(node string, labels ...string) *Source {
	c.Helper()
	name := fmt.Sprintf("client-%d", namespaces.Add(1))
	m := map[string]string{"app": "client"}
	for _, l := range labels {
		k, v, _ := strings.Cut(l, "=")
		m[k] = v
	}
	text, err := json.Marshal(m)
	if err != nil {
		c.Fatal(err)
	}
	c.Apply(fmt.Sprintf("apiVersion: v1\nkind: Pod\nmetadata: {name: %s, labels: %s}\nspec:\n  nodeName: %q\n  terminationGracePeriodSeconds: 0\n  containers: [{name: probe, image: \"sandbox.test/probe:1\", imagePullPolicy: Always, resources: {requests: {cpu: 50m}}}]\n", name, text, node))
	c.Wait("pod/"+name, "Ready")
	return c.Pod(name)
}

// Pod is a pod of the image sandbox.test/probe, or one that has the program /probe.
func (c *Test) Pod(name string) *Source {
	return &Source{c, "pod/" + name, []string{sandbox.kube, "kubectl", "--namespace", c.Namespace, "exec", "-i", name, "--", "/probe"}}
}

// On is the same place for another test, or a part of one.
func (s *Source) On(c *Test) *Source { return &Source{c, s.name, s.argv} }

// Name is the place's: the pod's, without "pod/".
func (s *Source) Name() string { return strings.TrimPrefix(s.name, "pod/") }

// Get makes one request.
func (s *Source) Get(url string) Response {
	s.t.Helper()
	return s.Do(Request{URL: url})[0]
}

// Do makes requests and returns what each has come to: a failed request is a
// Response with an Error, and no failure of the test.
func (s *Source) Do(r Request) Responses {
	s.t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.Command(s.argv[0], append(slices.Clone(s.argv[1:]), r.args()...)...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	got := parse(s.t, out.Bytes())
	if err != nil || len(got) != max(r.Count, 1) {
		s.t.Fatalf("probe from %s: %d of %d requests made: %v: %s", s.name, len(got), max(r.Count, 1), err, errs.String())
	}
	return got
}

// OK makes requests until one is answered with the status, and returns it: for
// the time in which a change is on its way.
func (s *Source) OK(r Request, status int) Response {
	s.t.Helper()
	var got Response
	s.t.Eventually(s.name+" gets "+r.URL, func() error {
		got = s.Do(r)[0]
		if got.Status != status {
			return fmt.Errorf("status %d, want %d: %s%s", got.Status, status, got.Error, got.Body)
		}
		return nil
	})
	return got
}

// Hears asks until every backend whose name contains one of the words has
// answered: from then on whatever shares the requests here knows them all.
func (s *Source) Hears(url string, backends ...string) {
	s.t.Helper()
	for _, b := range backends {
		s.t.Eventually("an answer of "+b, func() error {
			if got := s.Get(url); got.Failed() || !strings.Contains(got.Backend(), b) {
				return fmt.Errorf("%d %s%s", got.Status, got.Error, got.Backend())
			}
			return nil
		})
	}
}

func parse(t testing.TB, lines []byte) (rs Responses) {
	t.Helper()
	for line := range bytes.Lines(lines) {
		var r Response
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatalf("read the probe's output %q: %v", line, err)
		}
		rs = append(rs, r)
	}
	return rs
}

var hostname = regexp.MustCompile(`(?m)^\s*Hostname:\s*(\S+)`)

// Backend says who answered: the header X-Hostname, the "pod" of an echo's JSON,
// the "Hostname:" of the echoserver's text, else the whole body.
func (r Response) Backend() string {
	if name := r.Headers.Get("X-Hostname"); name != "" {
		return name
	}
	var echo struct {
		Pod     string `json:"pod"`
		Podname string `json:"podname"`
	}
	if json.Unmarshal([]byte(r.Body), &echo) == nil && echo.Pod+echo.Podname != "" {
		return echo.Pod + echo.Podname
	}
	if m := hostname.FindStringSubmatch(r.Body); m != nil {
		return m[1]
	}
	return strings.TrimSpace(r.Body)
}

// Seen is a header as the echoserver got it; "" if it got none.
func (r Response) Seen(name string) string {
	for line := range strings.Lines(r.Body) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), strings.ToLower(name)+"="); ok {
			return value
		}
	}
	return ""
}

// Client is the address that the request was made from.
func (r Response) Client() string {
	host, _, _ := net.SplitHostPort(r.Local)
	return host
}

// Failed tells whether there was no response, or one of the server's failure.
func (r Response) Failed() bool { return r.Error != "" || r.Status >= 500 }

// Failures are the failed ones.
func (rs Responses) Failures() Responses {
	return slices.DeleteFunc(slices.Clone(rs), func(r Response) bool { return !r.Failed() })
}

// String lists them, one a line, with the time and both ends, if there was a
// connection, for messages.
func (rs Responses) String() string {
	var b strings.Builder
	for i, r := range rs {
		if i == 20 {
			fmt.Fprintf(&b, "... and %d more\n", len(rs)-i)
			break
		}
		fmt.Fprintf(&b, "%s %.1fms %s-%s %d %s %s\n", r.Start.Format("15:04:05.000"), r.Millis, r.Local, r.Remote, r.Status, r.Error, r.Backend())
	}
	return b.String()
}

// Shares expects the backends whose names contain the keys to have answered
// these percentages of all requests, within the tolerance in points, and no
// request to have failed.
func (c *Test) Shares(rs Responses, want map[string]float64, tolerance float64) {
	c.Helper()
	c.NoFailures(rs)
	for name, share := range want {
		n := 0
		for _, r := range rs {
			if strings.Contains(r.Backend(), name) {
				n++
			}
		}
		if got := 100 * float64(n) / float64(len(rs)); got < share-tolerance || got > share+tolerance {
			c.Errorf("%s answered %.1f %% of %d requests, want %.0f ± %.0f", name, got, len(rs), share, tolerance)
		}
	}
}

// NoFailures expects every request to have been answered.
func (c *Test) NoFailures(rs Responses) {
	c.Helper()
	if f := rs.Failures(); len(f) > 0 {
		c.Errorf("%d of %d requests failed:\n%s", len(f), len(rs), f)
	}
}
