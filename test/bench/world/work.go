package world

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/waggle-mesh/waggle/test/bench/load"
	"github.com/waggle-mesh/waggle/test/bench/measure"
)

// Work is what a load did, and what that took.
type Work struct {
	Count    int64
	Took     time.Duration
	CPU      time.Duration // of all that had a part in it
	P50, P99 time.Duration // sums over the slices
	Slices   int
}

// Measure does a slice of work; pids are the processes that have a part.
func Measure(pids []int, do func() (load.Done, error)) (Work, error) {
	pids = append(slices.Clone(pids), SoftirqThreads()...)
	before, err := measure.CPU(pids...)
	if err != nil {
		return Work{}, err
	}
	done, err := do()
	if err != nil {
		return Work{}, err
	}
	after, err := measure.CPU(pids...)
	return Work{Count: done.Count, Took: done.Took, CPU: after - before, P50: done.P50, P99: done.P99, Slices: 1}, err
}

// Add adds a slice.
func (w *Work) Add(s Work) {
	w.Count += s.Count
	w.Took += s.Took
	w.CPU += s.CPU
	w.P50 += s.P50
	w.P99 += s.P99
	w.Slices += s.Slices
}

// Cost is the CPU for one, in a unit.
func (w Work) Cost(unit time.Duration) float64 {
	return float64(w.CPU) / float64(unit) / float64(w.Count)
}

// Rate is how many there were a second.
func (w Work) Rate() float64 { return float64(w.Count) / w.Took.Seconds() }

// Others is the share of the load's core that it did not get, 0 to 1: what
// others took, and a little rest.
func (w Work) Others() float64 { return max(0, 1-float64(w.CPU)/float64(w.Took)) }

// SoftirqThreads are the kernel's threads that take over the work of packets
// when there is much of it, one per core.
var SoftirqThreads = sync.OnceValue(func() []int {
	var pids []int
	names, _ := filepath.Glob("/proc/[0-9]*/comm")
	for _, path := range names {
		text, _ := os.ReadFile(path)
		if strings.HasPrefix(string(text), "ksoftirqd/") {
			if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
})
