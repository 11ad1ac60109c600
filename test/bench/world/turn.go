package world

import (
	"context"
	"math/rand/v2"
	"slices"

	"github.com/waggle-mesh/waggle/test/bench/measure"
)

// Works are what one did, a turn each.
type Works []Work

// Median is the middle of a figure of all turns: a turn in which somebody else
// had the caches counts as little as one in which nobody did.
func (w Works) Median(figure func(Work) float64) float64 {
	var f measure.Figures
	for _, one := range w {
		f = append(f, figure(one))
	}
	return f.Median()
}

// TakeTurns gives each of n so many turns, of two slices each: all in some order
// and then all in the reverse, so that what grows or fades meanwhile does so for
// all. It gives what each did, and the sum.
func TakeTurns(ctx context.Context, turns, n int, slice func(i int) (Work, error)) (each []Works, whole Work, err error) {
	each = make([]Works, n)
	for range turns {
		sums := make([]Work, n)
		for _, i := range ThereAndBack(n) {
			if ctx.Err() != nil {
				return nil, whole, ctx.Err()
			}
			w, err := slice(i)
			if err != nil {
				return nil, whole, err
			}
			sums[i].Add(w)
			whole.Add(w)
		}
		for i, s := range sums {
			each[i] = append(each[i], s)
		}
	}
	return each, whole, nil
}

// ThereAndBack is the order of slices in a turn.
func ThereAndBack(n int) []int {
	order := rand.Perm(n)
	back := slices.Clone(order)
	slices.Reverse(back)
	return append(order, back...)
}
