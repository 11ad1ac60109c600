package memory

import (
	"runtime/debug"
	"testing"
)

// TestBusy: a process is busy while it allocates much, and at rest when it has
// ended to.
func TestBusy(t *testing.T) {
	var s state
	for i, step := range []struct {
		allocated uint64
		busy      bool
	}{{much + 1, true}, {2*much + 2, true}, {3*much + 2, false}, {3*much + 2, false}, {5 * much, true}} {
		if busy := s.after(step.allocated); busy != step.busy {
			t.Errorf("look %d: busy is %v", i, busy)
		}
	}
}

// TestSave: what the environment says of garbage stands.
func TestSave(t *testing.T) {
	before := debug.SetGCPercent(100)
	defer debug.SetGCPercent(before)
	percent := func() int {
		now := debug.SetGCPercent(100)
		debug.SetGCPercent(now)
		return now
	}
	for _, name := range []string{"GOGC", "GOMEMLIMIT"} {
		t.Setenv(name, "100")
		if Save(7); percent() != 100 {
			t.Errorf("with %s: %d percent", name, percent())
		}
		t.Setenv(name, "")
	}
	if Save(7); percent() != 7 {
		t.Errorf("%d percent", percent())
	}
}
