package measure

import (
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestRecord: a record that is opened again goes on where it was; rounds that
// lack a figure do not count for it.
func TestRecord(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rounds")
	add := func(figures map[string]float64) *Record {
		t.Helper()
		r, err := OpenRecord(path, "as always")
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Add(Round{Began: time.Now(), Of: "as always", Figures: figures}); err != nil {
			t.Fatal(err)
		}
		return r
	}
	add(map[string]float64{"a": 2, "b": 1})
	add(map[string]float64{"a": 7})
	r := add(map[string]float64{"a": 4, "b": 2})
	if got := r.Ratio("a", "b"); got.Rounds != 2 || math.Abs(got.Mean-2) > 1e-9 {
		t.Errorf("the ratio is %v of %d rounds, want 2 of 2", got, got.Rounds)
	}
	if got := r.Figures("a"); len(got) != 3 || got[2] != 4 {
		t.Errorf("a is %v", got)
	}
	if _, err := OpenRecord(path, "otherwise"); err == nil || !strings.Contains(err.Error(), "as always") {
		t.Errorf("a record of something else gives %v", err)
	}
}
