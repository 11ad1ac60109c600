package identity

import (
	"hash/fnv"
	"iter"
	"strconv"
	"time"

	"github.com/waggle-mesh/waggle/internal/model"
)

// Entry is one identity that exists.
type Entry struct {
	Number  model.Identity
	Labels  Labels
	Created time.Time
}

// Parse reads the name of a CiliumIdentity object. A name that is no number
// of a pod's identity gives false.
func Parse(name string) (model.Identity, bool) {
	n, err := strconv.ParseUint(name, 10, 32)
	id := model.Identity(n)
	if err != nil || id < model.FirstPodIdentity || id > model.LastPodIdentity || strconv.FormatUint(n, 10) != name {
		return 0, false
	}
	return id, true
}

// Candidates are all numbers, in the order in which they are tried for a set
// of labels.
func Candidates(labels Labels) iter.Seq[model.Identity] {
	const numbers = uint64(model.LastPodIdentity-model.FirstPodIdentity) + 1 // 65280 = 2^8·3·5·17
	h := fnv.New64a()
	h.Write([]byte(labels.Key()))
	sum := h.Sum64()
	at := sum % numbers
	// A step that shares no factor with the number of numbers visits all.
	step := (sum>>32)%(numbers-1) + 1
	for !coprime(step, numbers) {
		step++
	}
	return func(yield func(model.Identity) bool) {
		for range numbers {
			if !yield(model.FirstPodIdentity + model.Identity(at)) {
				return
			}
			at = (at + step) % numbers
		}
	}
}

func coprime(a, b uint64) bool {
	for b != 0 {
		a, b = b, a%b
	}
	return a == 1
}

// Holds is the entry that holds, of those that have the same labels: the
// oldest, and of two of one second the lower number. False: there is none.
func Holds(entries []Entry) (best Entry, ok bool) {
	for _, e := range entries {
		if !ok || e.Created.Before(best.Created) || e.Created.Equal(best.Created) && e.Number < best.Number {
			best, ok = e, true
		}
	}
	return best, ok
}

// Garbage are the identities that no endpoint has had for at least the grace
// period. The identities' owner calls it now and then and hands each time back
// what it got: since when which identity has been unused.
func Garbage(entries []Entry, used func(model.Identity) bool, since map[model.Identity]time.Time, now time.Time, grace time.Duration) (garbage []model.Identity, unused map[model.Identity]time.Time) {
	unused = map[model.Identity]time.Time{}
	for _, e := range entries {
		if used(e.Number) {
			continue
		}
		begin, known := since[e.Number]
		if !known {
			begin = now
		}
		unused[e.Number] = begin
		if now.Sub(begin) >= grace {
			garbage = append(garbage, e.Number)
		}
	}
	return garbage, unused
}
