package memory

import (
	"fmt"
	"os"
	"runtime/debug"
	"strings"
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

// TestForgetCode: the program's pages are not in memory any more, and the
// program goes on.
func TestForgetCode(t *testing.T) {
	before := codeInMemory(t)
	forgetCode()
	if after := codeInMemory(t); after == 0 || after > before*3/4 {
		t.Errorf("%d KB of %d are still in memory", after, before)
	}
}

// codeInMemory is how much of the program's own file is, in KB.
func codeInMemory(t *testing.T) (sum int) {
	t.Helper()
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	mine := false
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch {
		case strings.Contains(name, "-"): // 00400000-00600000 r-xp 00000000 00
			mine = strings.HasSuffix(value, self) && strings.Contains(name, " r-")
		case mine && name == "Rss":
			kilobytes := 0
			fmt.Sscan(value, &kilobytes)
			sum += kilobytes
		}
	}
	return sum
}
