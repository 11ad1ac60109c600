package operator

import (
	"container/heap"
	"slices"
	"strconv"
	"time"

	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/gateway"
)

// expiry knows which ends of certificates come next. A change costs what it
// touches, not what exists.
type expiry struct {
	certificates map[int64]int // how many end at a time, by nanosecond
	coming       ends          // those that have not been seen to pass; also some that nobody has any more
	forgotten    []int64       // those that nobody has any more, since Expire
}

// horizon is how long Expire promises nothing new where no end is known.
const horizon = 24 * time.Hour

// changed is a sink of certificates.
func (e *expiry) changed(changes []flow.Change[gateway.Certificate]) {
	for _, c := range changes {
		if c.HadOld && !c.Old.NotAfter.IsZero() {
			end := c.Old.NotAfter.UnixNano()
			if e.certificates[end]--; e.certificates[end] == 0 {
				delete(e.certificates, end)
				e.forgotten = append(e.forgotten, end)
			}
		}
		if c.HasNew && !c.New.NotAfter.IsZero() {
			end := c.New.NotAfter.UnixNano()
			if e.certificates[end]++; e.certificates[end] == 1 {
				heap.Push(&e.coming, end)
			}
		}
	}
	if len(e.coming) > 2*len(e.certificates)+100 {
		e.coming = slices.DeleteFunc(e.coming, func(end int64) bool { return e.certificates[end] == 0 })
		heap.Init(&e.coming)
	}
}

// passed takes the ends that have passed.
func (e *expiry) passed(now time.Time) (passed []int64) {
	for len(e.coming) > 0 && e.coming[0] <= now.UnixNano() {
		if end := heap.Pop(&e.coming).(int64); e.certificates[end] > 0 {
			passed = append(passed, end)
		}
	}
	return passed
}

// Expire is called after a commit. It takes note of the certificates whose
// end has passed, and tells whether the graph must be committed again, and
// until when there is nothing new to note.
func (o *Graph) Expire(now time.Time) (until time.Time, again bool) {
	for _, end := range o.expiry.forgotten {
		if key := instant(end); o.expiry.certificates[end] == 0 {
			if _, known := o.expired.Get(key); known {
				o.expired.Delete(key)
				again = true
			}
		}
	}
	o.expiry.forgotten = nil
	for _, end := range o.expiry.passed(now) {
		o.expired.Set(flow.KeyRow(instant(end)))
		again = true
	}
	until = now.Add(horizon)
	if coming := o.expiry.coming; len(coming) > 0 && coming[0] < until.UnixNano() {
		until = time.Unix(0, coming[0])
	}
	return until, again
}

// instant is a time as a key.
func instant(end int64) string { return strconv.FormatInt(end, 10) }

// ends is a heap of times in nanoseconds.
type ends []int64

func (e ends) Len() int           { return len(e) }
func (e ends) Less(i, j int) bool { return e[i] < e[j] }
func (e ends) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *ends) Push(end any)      { *e = append(*e, end.(int64)) }
func (e *ends) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}
