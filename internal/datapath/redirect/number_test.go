package redirect

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"
)

func nobody(uint16) bool { return false }

func openNumbers(t *testing.T, path string) *Numbers {
	t.Helper()
	n, err := OpenNumbers(path)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func assign(t *testing.T, n *Numbers, names ...string) map[string]uint16 {
	t.Helper()
	got, err := n.Assign(names, nobody)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// TestNumbersStay: over changes of the others, of the order, and restarts.
func TestNumbersStay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "numbers")
	n := openNumbers(t, path)
	first := assign(t, n, "b", "a", "c")
	if first["b"] != 1 || first["a"] != 2 || first["c"] != 3 {
		t.Errorf("first numbers are %v", first)
	}
	if got := assign(t, n, "c", "a"); len(got) != 2 || got["a"] != 2 || got["c"] != 3 {
		t.Errorf("without b: %v", got)
	}
	n = openNumbers(t, path)
	got := assign(t, n, "d", "c", "a")
	if got["a"] != 2 || got["c"] != 3 || got["d"] != 4 {
		t.Errorf("after a restart: %v, want 1 not to be given again so soon", got)
	}
}

// TestNumbersSkipTakenPorts: of either generation.
func TestNumbersSkipTakenPorts(t *testing.T) {
	n := openNumbers(t, filepath.Join(t.TempDir(), "numbers"))
	got, err := n.Assign([]string{"a"}, func(port uint16) bool { return port == 10001 || port == 15002 })
	if err != nil || got["a"] != 3 {
		t.Errorf("got %v, %v", got, err)
	}
}

// TestNumbersExhausted: who has one keeps it, the others are told, and get one
// as soon as there is one.
func TestNumbersExhausted(t *testing.T) {
	n := openNumbers(t, filepath.Join(t.TempDir(), "numbers"))
	var names []string
	for i := range numbers {
		names = append(names, fmt.Sprintf("l%04d", i))
	}
	got, err := n.Assign(names, nobody)
	if !errors.Is(err, ErrPortsExhausted) || len(got) != numbers-1 {
		t.Fatalf("%d listeners have numbers, %v", len(got), err)
	}
	seen := map[uint16]bool{}
	for k := range maps.Values(got) {
		if k == 0 || k >= numbers || seen[k] {
			t.Fatalf("number %d", k)
		}
		seen[k] = true
	}
	freed := got[names[7]]
	last := names[len(names)-1]
	if got := assign(t, n, append(names[:7:7], names[8:]...)...); got[last] != freed {
		t.Errorf("the last one got %d, want %d", got[last], freed)
	}
}

// TestNumbersOfAnotherHand: a file that is not ours is an error that names it.
func TestNumbersOfAnotherHand(t *testing.T) {
	for _, text := range []string{"x a\n", "1\n", "0 a\n", "5000 a\n", "1 a\n1 b\n"} {
		path := filepath.Join(t.TempDir(), "numbers")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if n, err := OpenNumbers(path); err == nil {
			t.Errorf("%q was read as %v", text, n.by)
		}
	}
}
