package standalone

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/waggle-mesh/waggle/internal/agent"
	"github.com/waggle-mesh/waggle/internal/golden"
	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/operator"
	"github.com/waggle-mesh/waggle/internal/reconcile"
)

// TestScripts runs the scripts in testdata/script over the whole graph, with
// the real addresses and an Envoy that is played: once as they stand, once
// with the files of each add in reverse, and once with outputs that fail one
// time in ten. What is to be seen is the same each time. The commands:
//
//	add FILE...       put files into the directory, in this order
//	remove FILE...    take them out
//	resources         print what Envoy is told, one line a resource
//	conditions        print the conditions that are not as they should be
//	addresses         print where each Gateway answers
//	empty             demand that nothing is left
func TestScripts(t *testing.T) {
	for _, way := range []way{{name: "in order"}, {name: "in reverse", reverse: true}, {name: "with failures", failures: 10}} {
		t.Run(way.name, func(t *testing.T) {
			testscript.Run(t, testscript.Params{
				Dir:           filepath.Join("testdata", "script"),
				UpdateScripts: *golden.Update && way.name == "in order",
				Setup: func(env *testscript.Env) error {
					s, err := newScript(env.WorkDir, way)
					if err == nil {
						env.Values["script"] = s
						env.Defer(s.stop)
					}
					return err
				},
				Cmds: map[string]func(*testscript.TestScript, bool, []string){
					"add": command((*script).add), "remove": command((*script).remove),
					"resources": command((*script).resources), "conditions": command((*script).conditions),
					"addresses": command((*script).addresses), "empty": command((*script).empty),
				},
			})
		})
	}
}

func command(f func(*script, *testscript.TestScript, []string) error) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg {
			ts.Fatalf("these commands cannot be expected to fail")
		}
		ts.Check(f(ts.Value("script").(*script), ts, args))
	}
}

// way is how a script is run.
type way struct {
	name     string
	reverse  bool
	failures int // one in so many; 0: none
}

// script is one run of a script.
type script struct {
	way     way
	dir     string // that is served
	graph   *Graph
	envoy   map[model.ResourceKey]model.Resource
	granted chan reconcile.Outcome[operator.Address]
	random  *rand.Rand
	stop    func()
}

func newScript(work string, way way) (*script, error) {
	tables := agent.Auto
	if way.failures > 0 { // a table that Envoy refuses would be served by scopes from then on
		tables = agent.Plain
	}
	s := &script{
		way: way, dir: filepath.Join(work, "served"), envoy: map[model.ResourceKey]model.Resource{},
		graph: NewGraph(GraphOptions{RouteTables: tables}), random: rand.New(rand.NewSource(1)),
		granted: make(chan reconcile.Outcome[operator.Address]),
	}
	if err := os.Mkdir(s.dir, 0o755); err != nil {
		return nil, err
	}
	pool, err := newLoopback(work, netip.Addr{})
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	loop := reconcile.New(flaky{pool, s.fails}, slog.New(slog.DiscardHandler), func(o reconcile.Outcome[operator.Address]) {
		select {
		case s.granted <- o:
		case <-ctx.Done():
		}
	})
	s.graph.requests.OnChange(pool.requested)
	s.graph.requests.OnChange(loop.Changed)
	loop.Synced()
	done := make(chan struct{})
	go func() { defer close(done); loop.Run(ctx) }()
	s.stop = func() { stop(); <-done }
	return s, nil
}

// fails is the failure of an output, if it is its turn.
func (s *script) fails() error {
	if s.way.failures > 0 && s.random.Intn(s.way.failures) == 0 {
		return errors.New("one in ten")
	}
	return nil
}

// flaky is an Output that fails now and then.
type flaky struct {
	reconcile.Output[request, operator.Address]
	fails func() error
}

func (f flaky) Update(ctx context.Context, r request) (operator.Address, error) {
	if err := f.fails(); err != nil {
		return operator.Address{Gateway: r.gateway}, err
	}
	return f.Output.Update(ctx, r)
}

func (f flaky) Delete(ctx context.Context, key string) error {
	if err := f.fails(); err != nil {
		return err
	}
	return f.Output.Delete(ctx, key)
}

// settle reads the directory and goes on until outputs and Envoy have
// answered and nothing changes any more.
func (s *script) settle() error {
	batch, err := s.graph.feed.Load(s.dir)
	if err != nil {
		return err
	}
	batch.Apply()
	for {
		if _, err := s.graph.Commit(time.Now()); err != nil {
			return err
		}
		if s.awaits() {
			(&mesh{graph: s.graph}).granted(<-s.granted)
			continue
		}
		changed, removed := s.graph.Changes()
		if len(changed)+len(removed) == 0 {
			return nil
		}
		s.graph.Outcomes(s.answer(changed, removed))
	}
}

// awaits tells whether an output has still to make something so.
func (s *script) awaits() bool {
	for _, r := range s.graph.requests.All() {
		a, ok := s.graph.answers.Addresses.Get(r.Key())
		if !ok || a.Problem.Message == "one in ten" || !sameWish(r, a) {
			return true
		}
	}
	return s.graph.answers.Addresses.Len() > s.graph.requests.Len()
}

// sameWish tells whether an address answers a request as it stands now.
func sameWish(r request, a operator.Address) bool {
	return r.wanted == "" || !a.Problem.OK() || slices.ContainsFunc(a.Addresses, func(got netip.Addr) bool { return got.String() == r.wanted })
}

// answer is Envoy's: it takes everything, at once or, where it fails, after
// having refused it.
func (s *script) answer(changed []model.Resource, removed []model.ResourceKey) (outcomes []model.Outcome) {
	for _, k := range removed {
		delete(s.envoy, k)
	}
	for _, r := range changed {
		s.envoy[r.ResourceKey] = r
		o := model.Outcome{ResourceKey: r.ResourceKey, Owners: r.Owners}
		if err := s.fails(); err != nil {
			o.State, o.Message = model.Rejected, err.Error()
			s.graph.Outcomes([]model.Outcome{o})
			if _, err := s.graph.Commit(time.Now()); err != nil {
				panic(err)
			}
		}
		o.State, o.Message = model.Accepted, ""
		outcomes = append(outcomes, o)
	}
	return outcomes
}

func (s *script) add(ts *testscript.TestScript, files []string) error {
	if files = slices.Clone(files); s.way.reverse {
		slices.Reverse(files)
	}
	for _, name := range files {
		to := filepath.Join(s.dir, filepath.Base(name))
		if err := os.WriteFile(to, []byte(ts.ReadFile(name)), 0o644); err != nil {
			return err
		}
		if err := s.settle(); err != nil {
			return err
		}
	}
	return nil
}

func (s *script) remove(_ *testscript.TestScript, files []string) error {
	for _, name := range files {
		if err := os.Remove(filepath.Join(s.dir, filepath.Base(name))); err != nil {
			return err
		}
		if err := s.settle(); err != nil {
			return err
		}
	}
	return nil
}

func (s *script) resources(ts *testscript.TestScript, _ []string) error {
	var lines []string
	for k, r := range s.envoy {
		var owners []string
		for _, o := range r.Owners {
			owners = append(owners, o.String())
		}
		kind := string(k.Type)[strings.LastIndex(string(k.Type), ".")+1:]
		lines = append(lines, fmt.Sprintf("%s %s, of %s\n", kind, k.Name, strings.Join(owners, ", ")))
	}
	slices.Sort(lines)
	fmt.Fprint(ts.Stdout(), strings.Join(lines, ""))
	return nil
}

func (s *script) conditions(ts *testscript.TestScript, _ []string) error {
	fmt.Fprint(ts.Stdout(), "")
	for _, c := range s.graph.Conditions() {
		if !c.Good {
			fmt.Fprintln(ts.Stdout(), conditionText(c))
		}
	}
	for _, p := range s.graph.feed.Problems() {
		fmt.Fprintln(ts.Stdout(), strings.ReplaceAll(p.String(), s.dir+"/", ""))
	}
	return nil
}

func (s *script) addresses(ts *testscript.TestScript, _ []string) error {
	for _, a := range s.graph.answers.Addresses.All() {
		fmt.Fprintln(ts.Stdout(), a.Gateway, a.Addresses, a.Problem.Message)
	}
	return nil
}

// empty demands that nothing is left in Envoy or in any table.
func (s *script) empty(ts *testscript.TestScript, _ []string) error {
	if len(s.envoy) > 0 {
		s.resources(ts, nil)
		return fmt.Errorf("Envoy has %d resources left", len(s.envoy))
	}
	for _, t := range s.graph.tables.Stats() {
		if t.Rows > 0 {
			return fmt.Errorf("table %s has %d rows left", t.Table, t.Rows)
		}
	}
	return nil
}
