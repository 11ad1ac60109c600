package measure

import (
	"math"
	"testing"
)

// TestStudent compares with the usual table.
func TestStudent(t *testing.T) {
	for degrees, want := range map[int]float64{9: 2.262, 14: 2.145, 19: 2.093, 29: 2.045, 99: 1.984} {
		if got := student(degrees); math.Abs(got-want) > 0.002 {
			t.Errorf("%d degrees: %.4f, want %.3f", degrees, got, want)
		}
	}
}

func TestRatio(t *testing.T) {
	base := Figures{10, 20, 40, 10, 20, 40}
	if r := RatioOf(Figures{20, 40, 80, 20, 40, 80}, base); math.Abs(r.Mean-2) > 1e-9 || r.High-r.Low > 1e-9 {
		t.Errorf("always twice as much is %v", r)
	}
	r := RatioOf(Figures{20, 10, 80, 5, 40, 20}, base)
	if math.Abs(r.Mean-1) > 1e-9 || r.Low > 0.6 || r.High < 1.6 {
		t.Errorf("twice or half as much is %v", r)
	}
}

func TestQuantile(t *testing.T) {
	f := Figures{4, 1, 3, 2}
	for q, want := range map[float64]float64{0: 1, 0.5: 2.5, 1: 4} {
		if got := f.Quantile(q); got != want {
			t.Errorf("quantile %g is %g, want %g", q, got, want)
		}
	}
}
