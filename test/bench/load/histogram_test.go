package load

import (
	"testing"
	"time"
)

func TestHistogram(t *testing.T) {
	var h histogram
	for i := range 1000 {
		h.add(time.Duration(i+1) * time.Microsecond)
	}
	for q, want := range map[float64]time.Duration{0.001: time.Microsecond, 0.5: 500 * time.Microsecond, 0.99: 990 * time.Microsecond} {
		got := h.quantile(q)
		if off := float64(got-want) / float64(want); off < -0.005 || off > 0.005 {
			t.Errorf("quantile %g is %v, want about %v", q, got, want)
		}
	}
}

// TestBuckets: every number is in one bucket, whose middle is near it.
func TestBuckets(t *testing.T) {
	last := -1
	for n := uint64(0); n < 1<<40; n += n/300 + 1 {
		b := bucket(n)
		if b < last || b >= len(histogram{}.counts) {
			t.Fatalf("bucket of %d is %d after %d", n, b, last)
		}
		last = b
		if off := float64(middle(b)) - float64(n); off > float64(n)/128+1 || -off > float64(n)/128+1 {
			t.Fatalf("the middle of %d's bucket is %d", n, middle(b))
		}
	}
}
