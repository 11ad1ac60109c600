package hop

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// serve answers every request as answer says, and counts them.
func serve(t *testing.T, answer func(host string) string) (port int, asked *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	asked = &atomic.Int64{}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for in := bufio.NewReader(c); ; {
					r, err := http.ReadRequest(in)
					if err != nil {
						return
					}
					asked.Add(1)
					fmt.Fprint(c, answer(r.Host))
				}
			}()
		}
	}()
	return l.Addr().(*net.TCPAddr).Port, asked
}

const good = "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nhello world\n"

func loaded(t *testing.T, port int) (int, error) {
	t.Helper()
	s := shape{hosts: []string{"a", "b", "c"}}
	c, err := newClient(port, 4, s.requests())
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	return c.load(20 * time.Millisecond)
}

// TestLoadLeavesNothingInFlight: what a proxy takes is divided by what it has
// been asked.
func TestLoadLeavesNothingInFlight(t *testing.T) {
	port, asked := serve(t, func(string) string { return good })
	answers, err := loaded(t, port)
	if err != nil {
		t.Fatal(err)
	}
	if answers < 4 || int64(answers) != asked.Load() {
		t.Errorf("%d answers to %d requests", answers, asked.Load())
	}
}

// TestOneWrongAnswerSpoilsTheLoad asks three hosts in turn, one of which has
// no route.
func TestOneWrongAnswerSpoilsTheLoad(t *testing.T) {
	port, _ := serve(t, func(host string) string {
		if host == "c" {
			return "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
		}
		return good
	})
	if _, err := loaded(t, port); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("error %v, want one that shows the answer", err)
	}
}
