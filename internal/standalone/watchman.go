package standalone

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"
)

// watchman is the thread by which Go's runtime looks after the others. As long
// as a goroutine runs it sleeps for 20 µs at a time, for the kernel 70, and most
// often finds nothing to do: 14 times an edit, a quarter of a millisecond of CPU.
// How long it sleeps cannot be said, but how late the kernel may wake it.
type watchman struct {
	slack string // a file of the kernel's, see proc(5); empty: there is none
}

const (
	// wakeful leaves it to the kernel: 50 µs.
	wakeful = 0
	// drowsy is also how long a goroutine that waits for a disk may keep the
	// others from running while there is one processor.
	drowsy = 4 * time.Millisecond
)

// findWatchman finds the thread among the process's: the first that the runtime
// has made.
func findWatchman() watchman {
	entries, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return watchman{}
	}
	var threads []int
	for _, e := range entries {
		if thread, err := strconv.Atoi(e.Name()); err == nil {
			threads = append(threads, thread)
		}
	}
	return watchman{fmt.Sprintf("/proc/%d/timerslack_ns", first(threads, os.Getpid()))}
}

// first gives the thread that was made first after the process's own. Their
// numbers rise, and begin again at the least when they have reached the highest.
func first(threads []int, process int) int {
	slices.Sort(threads)
	i, _ := slices.BinarySearch(threads, process+1)
	return threads[i%len(threads)]
}

// sleep has the thread wake as late as d. The kernel lets no user do so who may
// not change priorities (CAP_SYS_NICE); then all stays as it was.
func (w watchman) sleep(d time.Duration) {
	_ = os.WriteFile(w.slack, strconv.AppendInt(nil, d.Nanoseconds(), 10), 0)
}
