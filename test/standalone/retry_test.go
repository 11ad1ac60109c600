package standalone_test

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"
)

func enough(got, want int) error {
	if got < want {
		return fmt.Errorf("%d of %d", got, want)
	}
	return nil
}

func TestTimeouts(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		m.backends("a")
		m.route("timeouts", `
			rules:
			- matches: [{path: {value: /request}}]
			  timeouts: {request: 300ms}
			  backendRefs: [{name: a, port: 80}]
			- matches: [{path: {value: /backend}}]
			  timeouts: {backendRequest: 300ms}
			  backendRefs: [{name: a, port: 80}]
			- matches: [{path: {value: /both}}]
			  timeouts: {request: 10s, backendRequest: 300ms}
			  backendRefs: [{name: a, port: 80}]
			- matches: [{path: {value: /zero}}]
			  timeouts: {request: 0s}
			  backendRefs: [{name: a, port: 80}]
			- backendRefs: [{name: a, port: 80}]
			`)
		m.answers(`
			/request              → a
			/request?delay=15s    → 504
			/backend?delay=15s    → 504
			/both?delay=15s       → 504
			/zero?delay=500ms     → a
			/?delay=500ms         → a
			`)
	})
}

// TestRetryCodes: those that are named are tried again, as often as is said.
func TestRetryCodes(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		b := m.backend("a", "")
		m.route("retry", `
			rules:
			- matches: [{path: {value: /retried}}]
			  retry: {codes: [500, 503], attempts: 2, backoff: 10ms}
			  backendRefs: [{name: a, port: 80}]
			- matches: [{path: {value: /once}}]
			  retry: {codes: [503]}
			  backendRefs: [{name: a, port: 80}]
			- backendRefs: [{name: a, port: 80}]
			`)
		m.answers(`
			/retried  → a
			/         → a
			`)
		for _, c := range []struct {
			request, by string
			tries       int
		}{
			{"/retried?fail=2,503", "a", 3},
			{"/retried?fail=2,500", "a", 3},
			{"/retried?fail=9,503", "503 a", 3},
			{"/retried?fail=9,504", "504 a", 1},
			{"/once?fail=1,503", "a", 2},
			{"/once?fail=2,503", "503 a", 2},
			{"/?fail=1,503", "503 a", 1},
		} {
			if a := m.get(c.request); a.by() != c.by {
				t.Errorf("%s → %s, want %s", c.request, a.by(), c.by)
			}
			if got := len(b.sawURI(c.request)); got != c.tries {
				t.Errorf("%s is tried %d times, want %d", c.request, got, c.tries)
			}
		}
	})
}

// TestRetryBackoff: the tries are as far apart as is said, and chance takes
// away no more than all of it and adds no more than as much.
func TestRetryBackoff(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		b := m.backend("a", "")
		m.route("retry", `
			rules:
			- retry: {codes: [503], attempts: 2, backoff: 400ms}
			  backendRefs: [{name: a, port: 80}]
			`)
		m.answers(`/ → a`)
		start := time.Now()
		var longest time.Duration
		for n := range 4 {
			uri := fmt.Sprintf("/%d?fail=2,503", n)
			if a := m.get(uri); a.by() != "a" {
				t.Errorf("%s → %s", uri, a.by())
			}
			longest = max(longest, time.Since(start))
			start = time.Now()
			if got := len(b.sawURI(uri)); got != 3 {
				t.Errorf("%s is tried %d times, want 3", uri, got)
			}
		}
		if longest < 200*time.Millisecond {
			t.Errorf("of 4 requests with two back-offs of 400 ms none took longer than %s", longest)
		}
	})
}

// TestRetryConnections: with retries, a dead endpoint is no failed request.
func TestRetryConnections(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		b := m.server("a")
		m.service("a", "", b.address(), closedPort(t))
		m.route("retry", `
			rules:
			- matches: [{path: {value: /retried}}]
			  retry: {attempts: 3}
			  backendRefs: [{name: a, port: 80}]
			- matches: [{path: {value: /plain}}]
			  backendRefs: [{name: a, port: 80}]
			`)
		m.expectShares(400, "/plain", map[string]float64{"a": 50, "503": 50})
		m.expectShares(100, "/retried", map[string]float64{"a": 100})
	})
}

// TestTimeoutOfEachTry: a try that takes too long makes room for another.
func TestTimeoutOfEachTry(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		slow, fast := m.server("slow"), m.server("fast")
		slow.slow = true
		m.service("a", "", slow.address(), fast.address())
		m.route("retry", `
			rules:
			- timeouts: {request: 15s, backendRequest: 200ms}
			  retry: {attempts: 3, codes: [504]}
			  backendRefs: [{name: a, port: 80}]
			`)
		m.answers(`/ → fast`)
		for n := 0; len(slow.saw()) == 0; n++ {
			if n == 30 {
				t.Fatal("the slow endpoint is never asked")
			}
			m.answers(`/ → fast`)
		}
	})
}

// closedPort is an address that refuses connections.
func closedPort(t *testing.T) netip.AddrPort {
	l, err := net.Listen("tcp", net.JoinHostPort(nextAddress().String(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return netip.MustParseAddrPort(l.Addr().String())
}
