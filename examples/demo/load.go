package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"sort"
	"strings"
	"sync"
	"time"
)

// shares counts answers by the backend that gave them.
type shares struct {
	by        map[string]int
	failed    int
	lastError string
}

func (s *shares) total() int {
	n := s.failed
	for _, k := range s.by {
		n += k
	}
	return n
}

func (s *shares) add(backend string, err error) {
	if err != nil {
		s.failed++
		s.lastError = err.Error()
		return
	}
	s.by[backend]++
}

// send makes n requests, one after the other.
func send(ctx context.Context, n int) *shares {
	s := &shares{by: map[string]int{}}
	for range n {
		s.add(request(ctx))
	}
	return s
}

// editUnderLoad writes the new weights in the middle of two seconds of load.
func editUnderLoad(ctx context.Context, route string) (*shares, error) {
	const clients, half = 4, time.Second
	load, stop := context.WithTimeout(ctx, 2*half)
	defer stop()
	var mu sync.Mutex
	var wg sync.WaitGroup
	s := &shares{by: map[string]int{}}
	for range clients {
		wg.Go(func() {
			for load.Err() == nil {
				backend, err := request(ctx)
				mu.Lock()
				s.add(backend, err)
				mu.Unlock()
			}
		})
	}
	time.Sleep(half)
	text, err := os.ReadFile(route)
	if err != nil {
		return nil, err
	}
	even := strings.NewReplacer("weight: 90", "weight: 50", "weight: 10", "weight: 50").Replace(string(text))
	if err := os.WriteFile(route, []byte(even), 0o644); err != nil {
		return nil, err
	}
	wg.Wait()
	return s, nil
}

// request asks the gateway and returns the name of the backend that answered.
func request(ctx context.Context) (backend string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, gateway, nil)
	if err != nil {
		return "", err
	}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return "", fmt.Errorf("status %s", r.Status)
	}
	lines := bufio.NewScanner(r.Body)
	for lines.Scan() {
		if name, ok := strings.CutPrefix(lines.Text(), "Hostname: "); ok {
			backend = name
		}
	}
	return backend, lines.Err()
}

// print draws the shares as a table.
func print(s *shares) {
	names := make([]string, 0, len(s.by))
	for name := range s.by {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		share := 100 * float64(s.by[name]) / float64(s.total())
		fmt.Printf("    %-8s %5.1f %%  %s\n", name, share, strings.Repeat("▇", int(share/2)))
	}
	if s.failed > 0 {
		fmt.Printf("    %-8s %d, the last with: %s\n", "failed", s.failed, s.lastError)
	}
}
