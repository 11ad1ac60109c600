package gateway

import (
	"fmt"
	"time"
)

// churn edits a route each second and replaces a Service's backend every two,
// until it is told to stop. Then it gives the number of changes.
func (s *site) churn() (stop func() (int, error)) {
	quit, done := make(chan struct{}), make(chan error, 1)
	changes := 0
	go func() { done <- s.keepChanging(quit, &changes) }()
	return func() (int, error) {
		close(quit)
		err := <-done
		return changes, err
	}
}

func (s *site) keepChanging(quit <-chan struct{}, changes *int) error {
	ticks := time.NewTicker(time.Second)
	defer ticks.Stop()
	for ; ; s.ticks++ {
		k := s.ticks
		select {
		case <-quit:
			return nil
		case <-ticks.C:
		}
		// 37 is prime to the numbers of routes: none comes twice in a row.
		if err := s.edit(routeName(k*37%s.routes), fmt.Sprintf("churn-%d-%d", s.routes, time.Now().Unix())); err != nil {
			return fmt.Errorf("edit a route: %w", err)
		}
		*changes++
		if k%2 == 1 {
			continue
		}
		if err := s.move(routeName((k*37+1)%s.routes), s.backends[1-k/2/s.routes%2]); err != nil {
			return fmt.Errorf("replace a backend: %w", err)
		}
		*changes++
	}
}
