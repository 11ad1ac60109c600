package measure

import (
	"context"
	"errors"
	"testing"
	"time"
)

// TestRoundsBreakOff: a few rounds that break off cost nothing but their time.
// More are an error, and so is the end of the whole.
func TestRoundsBreakOff(t *testing.T) {
	reset := errors.New("connection reset")
	for name, c := range map[string]struct {
		broken []error // the first rounds
		want   error
	}{
		"two":       {[]error{reset, reset}, nil},
		"three":     {[]error{reset, reset, reset}, reset},
		"cancelled": {[]error{context.Canceled}, context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			said := 0
			s := Series{Rounds: 3, Quiet: 1, Progress: func(string, ...any) { said++ }}
			r, err := s.Measure("as always", func() (Round, error) {
				if len(c.broken) > 0 {
					err := c.broken[0]
					c.broken = c.broken[1:]
					return Round{}, err
				}
				return Round{Began: time.Now(), Of: "as always", Figures: map[string]float64{"a": 1}}, nil
			})
			if !errors.Is(err, c.want) {
				t.Fatalf("the error is %v, want %v", err, c.want)
			}
			if err == nil && (len(r.Rounds) != 3 || said != 5) {
				t.Errorf("%d rounds were kept and %d lines said, want 3 and 5", len(r.Rounds), said)
			}
		})
	}
}
