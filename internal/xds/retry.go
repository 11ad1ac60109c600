package xds

import (
	"slices"
	"time"

	"github.com/waggle-mesh/waggle/internal/model"
)

// A rejected listener is tried again after firstRetry, then twice as long each
// time up to lastRetry: its port may have become free.
const (
	firstRetry = time.Second
	lastRetry  = 30 * time.Second
)

// retry is when and after which delay a listener is sent again.
type retry struct {
	at    time.Time
	delay time.Duration
}

// retryListeners sends rejected listeners again whose time has come.
func (st *stream) retryListeners(now time.Time) {
	sub := st.types[model.EnvoyListener]
	var names []string
	for name, r := range st.retries {
		h := sub.held[name]
		want := st.target[model.EnvoyListener][name]
		switch {
		case want == nil || h == nil || h.rejected == nil || h.rejected.hash != want.hash:
			delete(st.retries, name)
		case !now.Before(r.at):
			names = append(names, name)
			st.retries[name] = retry{at: now.Add(r.delay), delay: min(2*r.delay, lastRetry)}
		}
	}
	slices.Sort(names)
	st.aside(func() {
		for _, name := range names {
			st.send(sub.typ, map[string]*resource{name: st.target[sub.typ][name]}, []string{name})
		}
	})
}

// retryFreed makes rejected listeners due, once, after others were removed:
// most likely one of those had the port.
func (st *stream) retryFreed(now time.Time) {
	if !st.freed || st.step < len(steps) {
		return
	}
	st.freed = false
	for name, r := range st.retries {
		st.retries[name] = retry{at: now, delay: r.delay}
	}
}
