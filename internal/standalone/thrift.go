package standalone

import (
	"os"
	"runtime"
	"time"

	"github.com/waggle-mesh/waggle/internal/memory"
)

const (
	// building is how long after the first full state, or after many objects
	// have changed, waggle goes on taking what it can get: reading thousands
	// of files leaves much behind, and to collect it more often costs the
	// time that users wait for.
	building = 5 * time.Second
	// garbage is how much may lie about afterwards, in percent of what is in
	// use. An edit leaves so little that this is some tenths of a millisecond
	// of CPU for each.
	garbage = 40
)

// thrift decides how much of the machine waggle takes: all processors and much
// memory while there is much to do, one processor and little memory at rest.
// What the user's environment says of either stands.
//
// One processor, because an edit goes through several goroutines, each with a few
// microseconds of work: with more, the runtime wakes a thread for each, which
// looks for more and finds none. Measured: 28 context switches an edit instead
// of 42, and 0.2 to 0.3 ms less CPU.
type thrift struct {
	rest     *time.Timer
	watchman watchman
}

func newThrift() *thrift {
	t := &thrift{watchman: findWatchman()}
	t.rest = time.AfterFunc(building, t.save)
	t.rest.Stop()
	return t
}

// spend is told that there is much to do, or was until now.
func (t *thrift) spend() {
	t.rest.Reset(building)
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.SetDefaultGOMAXPROCS()
		t.watchman.sleep(wakeful)
	}
}

// heard is told of how many resources there is an outcome. Envoy may take longer
// to answer for thousands of them than it takes to make them, and what it says
// leaves much behind too.
func (t *thrift) heard(outcomes int) {
	const many = 100
	if outcomes >= many || t.rest.Stop() {
		t.spend()
	}
}

// end leaves things as they are.
func (t *thrift) end() { t.rest.Stop() }

// save gives back what much work has left behind, and keeps the process small
// from then on.
func (t *thrift) save() {
	memory.Save(garbage)
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(1)
		t.watchman.sleep(drowsy)
	}
}
