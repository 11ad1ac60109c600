package hop

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"regexp"
	"strconv"
	"time"

	"github.com/waggle-mesh/waggle/test/bench/measure"
)

// connections that wrk holds open.
const connections = 32

// sample is what one proxy did in one round.
type sample struct {
	cost float64 // CPU of the proxy per request, µs
	rate float64 // requests per second
	// others is the share of the machine's CPU that was used by processes
	// which have no part in the measurement, 0 to 1.
	others float64
}

// rounds are the samples of a shape by proxy, of the same rounds.
type rounds struct {
	kept    map[string][]sample
	dropped int
}

// costs are those of one proxy, in the order of the rounds.
func (r *rounds) costs(proxy string) measure.Figures {
	var f measure.Figures
	for _, s := range r.kept[proxy] {
		f = append(f, s.cost)
	}
	return f
}

// ratio is what Waggle costs in comparison with another.
func (r *rounds) ratio(proxy, base string) measure.Ratio {
	return measure.RatioOf(r.costs(proxy), r.costs(base))
}

// measure loads the proxies in turn, in another order each round. Rounds in
// which others use more of the machine than quiet are dropped, up to twice as
// many as are wanted; after that all are kept.
func (st *stage) measure(ctx context.Context, n int, slice time.Duration, quiet float64) (*rounds, error) {
	r := &rounds{kept: map[string][]sample{}}
	for _, p := range st.proxies { // connections, caches
		if _, err := st.load(ctx, p, time.Second); err != nil {
			return nil, err
		}
	}
	for len(r.kept[ours]) < n {
		round := map[string]sample{}
		noisy := false
		for _, i := range rand.Perm(len(st.proxies)) {
			p := st.proxies[i]
			s, err := st.load(ctx, p, slice)
			if err != nil {
				return nil, err
			}
			round[p.name] = s
			noisy = noisy || s.others > quiet
		}
		if noisy && r.dropped < 2*n {
			r.dropped++
			continue
		}
		for name, s := range round {
			r.kept[name] = append(r.kept[name], s)
		}
	}
	return r, nil
}

// load lets wrk ask a proxy for a while.
func (st *stage) load(ctx context.Context, p *proxy, slice time.Duration) (sample, error) {
	argv := []string{"-t1", "-c" + strconv.Itoa(connections), "-d" + strconv.Itoa(int(slice.Seconds())) + "s"}
	if st.script != "" {
		argv = append(argv, "-s", st.script)
	}
	wrk := exec.CommandContext(ctx, "wrk", append(argv, fmt.Sprintf("http://127.0.0.1:%d/", p.port))...)
	proxy, backend := p.pids(), st.backend[p.h2].Family()
	before, err := look(proxy, backend)
	if err != nil {
		return sample{}, err
	}
	text, err := wrk.Output()
	if err != nil {
		return sample{}, fmt.Errorf("run wrk: %w", err)
	}
	after, err := look(proxy, backend)
	if err != nil {
		return sample{}, err
	}
	requests, err := answered(string(text))
	if err != nil {
		return sample{}, fmt.Errorf("%s, %s: %w", st.name, p.name, err)
	}
	took := after.at.Sub(before.at)
	taking := after.proxy - before.proxy + after.backend - before.backend + wrk.ProcessState.UserTime() + wrk.ProcessState.SystemTime()
	busy := after.machine.Busy - before.machine.Busy
	return sample{
		cost:   float64(after.proxy-before.proxy) / float64(time.Microsecond) / float64(requests),
		rate:   float64(requests) / took.Seconds(),
		others: max(0, (busy-taking).Seconds()) / (took.Seconds() * float64(after.machine.Cores)),
	}, nil
}

// moment is what clocks and counters say at one time.
type moment struct {
	at             time.Time
	proxy, backend time.Duration
	machine        measure.MachineCPU
}

func look(proxy, backend []int) (m moment, err error) {
	m.at = time.Now()
	if m.machine, err = measure.WholeMachine(); err != nil {
		return m, err
	}
	if m.backend, err = measure.CPU(backend...); err != nil {
		return m, err
	}
	m.proxy, err = measure.CPU(proxy...)
	return m, err
}

var (
	wrkRequests = regexp.MustCompile(`(\d+) requests in`)
	wrkProblems = regexp.MustCompile(`Non-2xx.*|Socket errors.*`)
)

// answered reads wrk's report. One request that failed spoils it all: an
// error is cheaper than an answer.
func answered(report string) (int, error) {
	if problem := wrkProblems.FindString(report); problem != "" {
		return 0, errors.New(problem)
	}
	found := wrkRequests.FindStringSubmatch(report)
	if found == nil {
		return 0, fmt.Errorf("wrk reports no requests: %s", report)
	}
	n, err := strconv.Atoi(found[1])
	if err == nil && n == 0 {
		err = errors.New("no request was answered")
	}
	return n, err
}
