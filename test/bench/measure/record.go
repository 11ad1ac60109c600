package measure

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"slices"
	"strings"
	"time"
)

// Record is the rounds of a benchmark. In a file it can be gone on with later:
// some rounds now, some when the machine is idle again.
type Record struct {
	Rounds []Round
	path   string // empty: it is kept in memory alone
}

// Round is what was measured in one round, by name.
type Round struct {
	Began   time.Time
	Of      string  // how it was measured; rounds of one record agree
	Others  float64 // share of the load's core, or of the machine, that others took, 0 to 1
	Figures map[string]float64
}

// OpenRecord reads the rounds of a file, one a line, which Add appends to; it
// need not be there yet. Rounds that were measured in another way than of are
// an error. An empty path is a record of this run alone.
func OpenRecord(path, of string) (*Record, error) {
	r := &Record{path: path}
	if path == "" {
		return r, nil
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var round Round
		if err := json.Unmarshal(lines.Bytes(), &round); err != nil {
			return nil, fmt.Errorf("read %s, line %d: %w", path, len(r.Rounds)+1, err)
		}
		if round.Of != of {
			return nil, fmt.Errorf("%s is a record of %q, this is %q: name another file", path, round.Of, of)
		}
		r.Rounds = append(r.Rounds, round)
	}
	return r, lines.Err()
}

// Add adds a round, in the file too.
func (r *Record) Add(round Round) error {
	r.Rounds = append(r.Rounds, round)
	if r.path == "" {
		return nil
	}
	line, err := json.Marshal(round)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(r.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(append(line, '\n'))
	return errors.Join(err, f.Close())
}

// Others are the shares that others took, by round.
func (r *Record) Others() Figures {
	var f Figures
	for _, round := range r.Rounds {
		f = append(f, round.Others)
	}
	return f
}

// Figures are those of a name, in the order of the rounds that have one.
func (r *Record) Figures(name string) Figures {
	var f Figures
	for _, round := range r.Rounds {
		if v, ok := round.Figures[name]; ok {
			f = append(f, v)
		}
	}
	return f
}

// Ratio compares the figures of two names, in the rounds that have both.
func (r *Record) Ratio(name, base string) Ratio {
	var a, b Figures
	for _, round := range r.Rounds {
		x, ok := round.Figures[name]
		y, too := round.Figures[base]
		if ok && too {
			a, b = append(a, x), append(b, y)
		}
	}
	if len(a) < 2 {
		return Ratio{Mean: math.NaN(), Low: 0, High: math.Inf(1), Rounds: len(a)}
	}
	return RatioOf(a, b)
}

// Days are those on which rounds were taken, in order.
func (r *Record) Days() []string {
	var days []string
	for _, round := range r.Rounds {
		days = append(days, round.Began.UTC().Format("2006-01-02"))
	}
	slices.Sort(days)
	return slices.Compact(days)
}

// Describe is a sentence about the rounds.
func (r *Record) Describe() string {
	days := r.Days()
	when := days[0]
	if last := days[len(days)-1]; last != when {
		when += " to " + last
	}
	return fmt.Sprintf("%d rounds of %s, in which others took %.1f %% of the core (median), %.1f %% at most. "+
		"Ratios are geometric means over the rounds, with the 95 %% interval of Student's distribution; a target counts as met if all of the interval does.",
		len(r.Rounds), when, 100*r.Others().Median(), 100*r.Others().Max())
}

// Choose gives those of all that a flag names, in the order of all; no names:
// all of them.
func Choose(some, all []string) ([]string, error) {
	for _, name := range some {
		if !slices.Contains(all, name) {
			return nil, fmt.Errorf("there is no %q, only %s", name, strings.Join(all, ", "))
		}
	}
	if len(some) == 0 {
		return all, nil
	}
	return slices.DeleteFunc(slices.Clone(all), func(name string) bool { return !slices.Contains(some, name) }), nil
}
