package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"time"

	"github.com/waggle-mesh/waggle/internal/agent"
	"github.com/waggle-mesh/waggle/internal/agent/proxy"
	"github.com/waggle-mesh/waggle/internal/datapath/redirect"
	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/reconcile"
)

// envoys ties the graph to the node's Envoys. It is the graph's owner's.
//
//	a listener comes:  number ─▶ Envoy ─▶ its sockets are there ─▶ maps know k ─▶ frontends name it
//	a listener goes:   frontends name it no more ─▶ maps forget k ─▶ Envoy
//
// So no connection is led to a listener that Envoy does not have.
type envoys struct {
	a       *node
	proxy   *proxy.Proxy
	configs *agent.EnvoyConfigs
	graph   *agent.ProxyGraph
	live    *flow.Table[flow.KeyRow] // listeners that connections are led to

	renumber  bool              // the wanted listeners have changed
	numbers   map[string]uint16 // of wanted listeners
	known     map[string]uint16 // of live listeners, as the data path knows them
	named     map[string]string // listeners by the frontends, as the maps have them
	going     *departures
	untold    bool // the data path does not know yet what is in known
	published bool
	answers   *flow.Table[agent.EnvoyAnswer]
	unsure    bool      // Envoy may have said something since the last look, or have been asked
	answered  time.Time // the last look
	lost      time.Time // since when no Envoy is connected; zero: one is
	answering *time.Timer
	lookAgain *time.Timer // while listeners are waited for
	busy      time.Time   // until then they are looked for often
}

// How often listeners' sockets are looked for, which nobody tells of: soon
// after something has changed, and later.
const (
	looksOften  = 5 * time.Millisecond
	looksSeldom = 200 * time.Millisecond
	busyFor     = 5 * time.Second
)

func newEnvoys(a *node, configs *agent.EnvoyConfigs, graph *agent.ProxyGraph) (*envoys, error) {
	e := &envoys{
		a: a, proxy: a.proxy, configs: configs, graph: graph, live: a.in.Live, numbers: map[string]uint16{}, known: a.proxy.Known(),
		named: map[string]string{}, going: newDepartures(), lookAgain: time.NewTimer(0),
		answers: flow.NewTable(&a.tables, "envoy answers", agent.EnvoyAnswer.Equal), answering: time.NewTimer(0),
	}
	// What an earlier agent had is taken to be there until the feeds say
	// that it is wanted no more: its frontends shall not change meanwhile.
	for name := range e.known {
		e.live.Set(flow.KeyRow(name))
	}
	graph.Wanted.OnChange(func([]flow.Change[flow.KeyRow]) { e.renumber = true })
	// Of a generation that changes nothing for Envoy nobody else would tell.
	configs.Served.OnChange(func([]flow.Change[*agent.Config]) { e.unsure = true })
	return e, a.datapath.SetListeners(e.known)
}

// commit is called when the graph has been committed and every feed has
// synced. It commits again as often as what it does changes the graph.
func (e *envoys) commit() {
	if e.untold {
		e.tellDatapath()
	}
	for e.configs.Settle() || e.number() || e.graph.Settle() || e.look() || e.letGo() {
		e.a.commit()
	}
	changed, removed := e.graph.Changes()
	e.going.changed(changed, removed)
	gone, late := e.going.leave(time.Now())
	for _, listener := range late {
		e.a.log.Warn("Envoy loses a listener that connections may still be led to", "listener", listener)
	}
	if len(changed)+len(gone) > 0 {
		e.proxy.Update(changed, gone)
		e.hurry()
		e.unsure = true
	}
	if !e.published {
		e.published = true
		e.proxy.Ready()
	}
	e.schedule()
	if e.answer() {
		e.a.commit()
	}
}

// heard takes note of what Envoy has said.
func (e *envoys) heard(outcomes []model.Outcome) {
	e.graph.Outcomes(outcomes)
	e.unsure = true
}

// number gives the wanted listeners their numbers. Those that are still led to
// keep theirs.
func (e *envoys) number() (again bool) {
	if !e.renumber {
		return false
	}
	names := e.graph.WantedNames()
	wanted := len(names)
	for name := range e.known {
		_, wanted := e.graph.Wanted.Get(name)
		_, going := e.going.listeners[name]
		switch {
		case !wanted:
			e.going.begin(name, time.Now())
			e.live.Delete(name)
			names = append(names, name)
		case going: // look finds out whether Envoy still has it
			e.going.end(name)
			delete(e.known, name)
		}
	}
	given, err := e.proxy.Number(names)
	if err != nil && !errors.Is(err, redirect.ErrPortsExhausted) {
		e.a.log.Error("number the listeners", "error", err)
		e.hurry()
		return false // and again soon
	}
	if e.renumber = false; err != nil {
		e.a.log.Error("some listeners are not served", "error", err)
	}
	e.numbers = map[string]uint16{}
	for _, name := range names[:wanted] {
		k := given[name]
		if k == 0 {
			e.graph.Numbers.Delete(name)
			continue
		}
		e.numbers[name] = k
		e.graph.Numbers.Set(agent.ListenerNumber{Listener: name, K: k})
	}
	for _, row := range e.graph.Numbers.All() {
		if e.numbers[row.Listener] == 0 {
			e.graph.Numbers.Delete(row.Listener)
		}
	}
	return true
}

// look finds the listeners that Envoy has now.
func (e *envoys) look() (again bool) {
	if e.waiting() == 0 {
		return false
	}
	alive, err := e.proxy.Alive()
	if err != nil {
		e.a.log.Error("look for Envoy's listeners", "error", err)
		return false
	}
	for name, k := range e.numbers {
		if e.known[name] != k && alive[k] {
			e.known[name], again = k, true
			e.live.Set(flow.KeyRow(name))
		}
	}
	if again {
		e.tellDatapath()
	}
	return again
}

// waiting counts the listeners that Envoy is expected to open.
func (e *envoys) waiting() (n int) {
	for name, k := range e.numbers {
		if e.known[name] != k {
			n++
		}
	}
	return n
}

// letGo forgets listeners that nothing in the maps is led to any more but what
// is then rejected. A listener keeps its number until the maps have that.
func (e *envoys) letGo() bool {
	if len(e.going.listeners) == 0 {
		return false
	}
	led := map[string]bool{}
	for frontend, listener := range e.named {
		if row, ok := e.a.graph.Frontends.Get(frontend); !ok || row.Redirect != listener {
			led[listener] = true // it is about to be written
		}
	}
	left := maps.Clone(e.known)
	for name := range e.going.listeners {
		if !led[name] {
			delete(left, name)
		}
	}
	if len(left) == len(e.known) || !e.tell(left) {
		return false
	}
	for name := range e.known {
		if left[name] == 0 {
			e.going.end(name)
		}
	}
	e.known = left
	e.renumber = true // their numbers are free
	return true
}

// tellDatapath has the maps lead to the listeners that are known.
func (e *envoys) tellDatapath() { e.untold = !e.tell(e.known) }

// tell has the maps lead to listeners. What fails is tried again with the next
// commit.
func (e *envoys) tell(listeners map[string]uint16) bool {
	err := e.a.datapath.SetListeners(listeners)
	if err != nil {
		e.a.log.Error("tell the data path of Envoy's listeners", "error", err)
		e.untold = true
	}
	return err == nil
}

// frontendMap is the Output of Frontends. Its result is the listener that the
// map leads to now.
type frontendMap struct {
	reconcile.Output[model.Frontend, struct{}]
}

// Update is the Output's.
func (o frontendMap) Update(ctx context.Context, row model.Frontend) (string, error) {
	_, err := o.Output.Update(ctx, row)
	return row.Redirect, err
}

// frontendWritten takes note of where the maps lead a frontend's connections.
func (e *envoys) frontendWritten(o reconcile.Outcome[string]) {
	e.unsure = true
	switch {
	case o.Err != nil:
	case o.Deleted || o.Result == "":
		delete(e.named, o.RowKey)
	default:
		e.named[o.RowKey] = o.Result
	}
}

// hurry has listeners be looked for often for a while.
func (e *envoys) hurry() { e.busy = time.Now().Add(busyFor) }

func (e *envoys) schedule() {
	held := e.going.wait(time.Now())
	switch {
	case e.untold:
		e.lookAgain.Reset(looksSeldom)
	case e.waiting() == 0 && !e.renumber && held == 0:
		e.lookAgain.Stop()
	case e.waiting() == 0 && !e.renumber:
		e.lookAgain.Reset(held)
	case time.Now().Before(e.busy):
		e.lookAgain.Reset(looksOften)
	default:
		e.lookAgain.Reset(looksSeldom)
	}
}

// serveEnvoys leads connections to the node's Envoys until ctx ends.
func (a *node) serveEnvoys(ctx context.Context) error {
	if a.options.L7Proxy {
		return a.proxy.Run(ctx)
	}
	<-ctx.Done()
	return nil
}

// replaceEnvoy waits until the node's Envoy has given way to another.
func (a *node) replaceEnvoy(r *http.Request) (proxy.Replacement, error) {
	if !a.owned() {
		return proxy.Replacement{}, errStarting
	}
	patience, err := time.ParseDuration(r.FormValue("timeout"))
	if err != nil {
		return proxy.Replacement{}, fmt.Errorf("read the time-out: %w", err)
	}
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	done, err := a.proxy.AwaitReplaced(ctx)
	if err == nil && r.FormValue("keep") != "true" {
		err = a.proxy.End(done.Old)
	}
	return done, err
}
