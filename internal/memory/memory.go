// Package memory keeps a process that has little to do small.
//
// Much work (the first full state, thousands of objects at once) is done with
// what Go's garbage collector takes by itself: as much garbage as there is in
// use. When it is over, Save gives back what it has left behind, and from then on
// less garbage lies about: at rest there is little of it, so that the collector
// has hardly more to do. What the environment says (GOGC, GOMEMLIMIT) stands.
package memory

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Keep watches how much the process allocates and saves whenever it has come to
// rest, until ctx ends.
func Keep(ctx context.Context) {
	if !ours() {
		return
	}
	look := time.NewTicker(interval)
	defer look.Stop()
	s := state{busy: true}
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
		switch was := s.busy; {
		case s.after(allocated()) && !was:
			debug.SetGCPercent(building)
		case was && !s.busy:
			Save(resting)
		}
	}
}

const (
	interval = 5 * time.Second
	// much is how many bytes are allocated in an interval while there is much to
	// do: edits one after the other do not come near it.
	much = 64 << 20
	// Garbage that may lie about, in percent of what is in use, while there is
	// much to do, which is Go's default, and at rest. With 5,000 routes the
	// collector has its turn once in some minutes of edits.
	building, resting = 100, 15
)

// state is what Keep knows of the process.
type state struct {
	busy      bool
	allocated uint64 // since the process began, at the last look
}

// after takes note of how much has been allocated since the process began, and
// tells whether there is much to do.
func (s *state) after(allocated uint64) (busy bool) {
	s.busy = allocated-s.allocated > much
	s.allocated = allocated
	return s.busy
}

func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// Save gives back to the kernel what is not in use. From then on at most garbage,
// in percent of what is in use, lies about before it is collected.
func Save(garbage int) {
	if !ours() {
		return
	}
	debug.SetGCPercent(garbage)
	debug.FreeOSMemory()
}

// ours tells whether nobody else has said how much memory the process may take.
func ours() bool { return os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" }
