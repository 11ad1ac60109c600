package world

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/waggle-mesh/waggle/test/bench/measure"
)

// Watch tells how much of the machine others used.
type Watch struct {
	pids   []int
	began  time.Time
	before measure.MachineCPU
	ours   time.Duration
}

// NewWatch begins; pids are processes that belong to the measurement, besides
// this one.
func NewWatch(pids []int) (*Watch, error) {
	w := &Watch{pids: pids, began: time.Now()}
	var err error
	w.before, w.ours, err = w.look()
	return w, err
}

func (w *Watch) look() (measure.MachineCPU, time.Duration, error) {
	ours, err := measure.CPU(append(w.pids, SoftirqThreads()...)...)
	if err != nil {
		return measure.MachineCPU{}, 0, err
	}
	var self syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &self); err != nil {
		return measure.MachineCPU{}, 0, fmt.Errorf("ask what the benchmark takes: %w", err)
	}
	machine, err := measure.WholeMachine()
	return machine, ours + time.Duration(self.Utime.Nano()+self.Stime.Nano()), err
}

// Others is the share of the machine's CPU that was used since NewWatch by
// processes which have no part in the measurement, 0 to 1.
func (w *Watch) Others() (float64, error) {
	machine, ours, err := w.look()
	others := machine.Busy - w.before.Busy - (ours - w.ours)
	return max(0, others.Seconds()) / (time.Since(w.began).Seconds() * float64(machine.Cores)), err
}

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
