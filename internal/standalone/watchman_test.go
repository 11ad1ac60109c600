package standalone

import (
	"os"
	"strings"
	"testing"
)

func TestFirstThread(t *testing.T) {
	for _, c := range []struct {
		threads []int
		process int
		want    int
	}{
		{[]int{100, 101, 102}, 100, 101},
		{[]int{107, 100, 103}, 100, 103},
		{[]int{32766, 32767, 301}, 32766, 32767},
		{[]int{32767, 302, 301}, 32767, 301},
		{[]int{100}, 100, 100},
	} {
		if got := first(c.threads, c.process); got != c.want {
			t.Errorf("first of %v after %d: %d, want %d", c.threads, c.process, got, c.want)
		}
	}
}

// TestWatchmanSleeps: the thread is one of this process, and does as it is told.
func TestWatchmanSleeps(t *testing.T) {
	w := findWatchman()
	read := func() string {
		text, err := os.ReadFile(w.slack)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(text))
	}
	before := read()
	w.sleep(drowsy)
	got, want := read(), "4000000"
	if os.Geteuid() != 0 {
		want = before
	}
	if got != want {
		t.Errorf("slack %s ns, want %s", got, want)
	}
	w.sleep(wakeful)
	if got := read(); got != "50000" {
		t.Errorf("slack %s ns when awake", got)
	}
}
