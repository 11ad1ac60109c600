package load

import (
	"math/bits"
	"time"
)

// histogram counts durations with a resolution of 1 in 128.
type histogram struct {
	counts [64 << 7]int
	all    int
}

func (h *histogram) clear() { *h = histogram{} }

func (h *histogram) add(d time.Duration) {
	h.counts[bucket(uint64(max(d, 0)))]++
	h.all++
}

// bucket is exact below 256, and then keeps the first 8 bits of the number.
func bucket(n uint64) int {
	shift := max(0, bits.Len64(n)-8)
	return shift<<7 + int(n>>shift)
}

// middle is a number in the middle of a bucket.
func middle(bucket int) uint64 {
	if bucket < 256 {
		return uint64(bucket)
	}
	shift := bucket>>7 - 1
	first := uint64(bucket - shift<<7)
	return first<<shift + 1<<shift/2
}

// quantile is the duration below which the share q lies, q from 0 to 1.
func (h *histogram) quantile(q float64) time.Duration {
	left := q * float64(h.all)
	for i, n := range h.counts {
		if left -= float64(n); left <= 0 && n > 0 {
			return time.Duration(middle(i))
		}
	}
	return 0
}
