package standalone

import (
	"os"
	"runtime/debug"
	"time"
)

const (
	// building is how long what is made for the first full state may lie
	// about: reading thousands of files leaves much behind, and to collect it
	// more often costs the time that users wait for.
	building = 5 * time.Second
	// garbage is how much may lie about afterwards, in percent of what is in
	// use. An edit leaves so little that this is some tenths of a millisecond
	// of CPU for each.
	garbage = 25
)

// saveMemory gives back what the first full state has left behind, and keeps
// the process small from then on, unless the user has said otherwise.
func saveMemory() {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	time.AfterFunc(building, func() {
		debug.SetGCPercent(garbage)
		debug.FreeOSMemory()
	})
}
