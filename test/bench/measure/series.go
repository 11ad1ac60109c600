package measure

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"time"
)

// Series says how often something is measured, and what counts.
type Series struct {
	Rounds   int           // to be added to the record; all is made anew for each
	For      time.Duration // no round begins later than that after the start; zero: no limit
	Slice    time.Duration // of load on one thing at a time
	Quiet    float64       // most of the machine that others may take in a round, 0 to 1
	Append   string        // file of rounds that this run goes on with; empty: none
	Progress func(format string, args ...any)
}

// Flags gives a Series its flags, with these defaults.
func (s *Series) Flags(f *flag.FlagSet, rounds int, slice time.Duration) {
	f.IntVar(&s.Rounds, "rounds", rounds, "all is made anew for each; targets need 15 or more")
	f.DurationVar(&s.For, "for", 0, "begin no round later than this")
	f.DurationVar(&s.Slice, "slice", slice, "load on one thing at a time; each has two a turn")
	f.Float64Var(&s.Quiet, "quiet", 0.1, "drop rounds in which others take more than this `share` of the machine")
	f.StringVar(&s.Append, "append", "", "`file` of rounds: those in it count too, and this run's are added")
}

// mayBreak is how many rounds may end early before the rest is not believed
// either: half an hour of rounds should not be lost for one reset connection.
const mayBreak = 2

// Measure adds as many rounds to the record of those that were measured in the
// way of, unless time is up first. One in which others took too much is measured
// again, as long as fewer are dropped than are wanted, and so is one that broke
// off, which is told.
func (s Series) Measure(of string, round func() (Round, error)) (*Record, error) {
	r, err := OpenRecord(s.Append, of)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	for done, dropped, broken := 0, 0, 0; done < s.Rounds && (s.For == 0 || time.Since(began) < s.For); {
		round, err := round()
		if err != nil {
			if broken++; broken > mayBreak || errors.Is(err, context.Canceled) {
				return nil, err
			}
			s.Progress("a round broke off: %v", err)
			continue
		}
		took := time.Since(round.Began).Round(time.Second)
		if round.Others > s.Quiet && dropped < s.Rounds {
			dropped++
			s.Progress("a round of %s is dropped: others took %.0f %%", took, 100*round.Others)
			continue
		}
		if err := r.Add(round); err != nil {
			return nil, err
		}
		done++
		s.Progress("round %d of %d, others took %.1f %%, %s", done, s.Rounds, 100*round.Others, took)
	}
	if len(r.Rounds) < 2 {
		return nil, fmt.Errorf("%d rounds are too few for a page", len(r.Rounds))
	}
	return r, nil
}
