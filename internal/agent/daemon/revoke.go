package daemon

import (
	"log/slog"
	"net/netip"
	"strconv"
	"time"

	"github.com/waggle-mesh/waggle/internal/agent"
	"github.com/waggle-mesh/waggle/internal/agent/proxy"
	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/link"
	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/reconcile"
)

// gathering is how long what is taken back waits for more: to find connections
// is to look at all sockets of the node.
const gathering = 50 * time.Millisecond

// revocations ends Envoy's connections, both legs, that stand on what is no
// more: the programs judge connections when they begin, and Envoy keeps them.
// It is the graph's owner's.
type revocations struct {
	graph   *agent.NodeGraph
	tell    func(func()) // has the graph's owner call
	destroy func(func(link.Connection) bool) (int, error)
	log     *slog.Logger

	pending map[string]revoked // until the maps have what the rows are now
	former  formerIdentities
	left    map[string]time.Time // by frontend, when it was last led to Envoy no more

	// What was taken back and whose connections are still to be ended.
	verdicts  []revoked
	redirects []netip.AddrPort
	ending    bool // it waits for more, or for others to be ended
}

// revoked is a verdict as it was, and what it was about.
type revoked struct {
	model.Verdict
	addresses []netip.Addr // of its endpoint
	at        time.Time    // when it was taken back
}

func newRevocations(graph *agent.NodeGraph, tell func(func()), destroy func(func(link.Connection) bool) (int, error), log *slog.Logger) *revocations {
	return &revocations{graph: graph, tell: tell, destroy: destroy, log: log, pending: map[string]revoked{}, former: formerIdentities{}, left: map[string]time.Time{}}
}

// changed takes note of verdicts that are taken back. One that only allows more
// than before takes nothing back.
func (r *revocations) changed(changes []flow.Change[model.Verdict]) {
	for _, c := range changes {
		switch {
		case c.HadOld && c.Old.Action == model.Deny:
		case c.HadOld:
			r.takeBack(c.Old)
		case c.New.Action != model.Allow: // what had no verdict of its own so far
			r.takeBack(c.New)
		}
	}
}

func (r *revocations) takeBack(v model.Verdict) {
	if v.Protocol != model.TCP && v.Protocol != model.AnyProtocol {
		return
	}
	if _, ok := r.pending[v.Key()]; !ok {
		e, _ := r.graph.PodEndpoints.Get(strconv.Itoa(int(v.Endpoint)))
		r.pending[v.Key()] = revoked{v, e.Addresses, time.Now()}
	}
}

// identitiesChanged keeps what prefixes were for as long as connections may have
// to be found by it.
func (r *revocations) identitiesChanged(changes []flow.Change[model.IPIdentity]) {
	r.former.forget(r.since())
	r.former.add(changes)
}

// since is when the first verdict was taken back whose connections are still to
// be ended, or now.
func (r *revocations) since() time.Time {
	first := time.Now()
	for _, v := range r.pending {
		if v.at.Before(first) {
			first = v.at
		}
	}
	for _, v := range r.verdicts {
		if v.at.Before(first) {
			first = v.at
		}
	}
	return first
}

// written is told that the maps have a verdict, or have it no more.
func (r *revocations) written(o reconcile.Outcome[struct{}]) {
	old, ok := r.pending[o.RowKey]
	if !ok || o.Err != nil {
		return
	}
	delete(r.pending, o.RowKey)
	r.verdicts = append(r.verdicts, old)
	r.end()
}

// frontendsChanged ends what still goes through Envoy to addresses that lead
// there no more, when Envoy has had its time to let it end.
func (r *revocations) frontendsChanged(changes []flow.Change[model.Frontend]) {
	for _, c := range changes {
		if !c.HadOld || c.Old.Redirect == "" || c.HasNew && c.New.Redirect != "" {
			continue
		}
		at := time.Now()
		r.left[c.Key] = at
		time.AfterFunc(proxy.Limit, func() {
			r.tell(func() {
				if r.left[c.Key] != at {
					return // it has been led there since, whose connections have their own time
				}
				delete(r.left, c.Key)
				if now, ok := r.graph.Frontends.Get(c.Key); ok && now.Redirect != "" {
					return
				}
				r.redirects = append(r.redirects, c.Old.Address)
				r.end()
			})
		})
	}
}

// end ends connections in a moment, together with all that comes until then.
func (r *revocations) end() {
	if r.ending {
		return
	}
	r.ending = true
	time.AfterFunc(gathering, func() { r.tell(r.endGathered) })
}

// endGathered ends connections beside the graph's owner, and then those of what
// was taken back meanwhile.
func (r *revocations) endGathered() {
	r.ending = false
	if len(r.verdicts)+len(r.redirects) == 0 {
		return
	}
	r.ending = true
	s, log := r.standing(), r.log.With("verdicts", len(r.verdicts), "redirects", len(r.redirects))
	r.verdicts, r.redirects = nil, nil
	go func() {
		ended, err := r.destroy(s.has)
		if err != nil {
			log.Warn("end connections of what was taken back", "error", err)
		}
		if ended > 0 {
			log.Info("connections ended, of what was taken back", "connections", ended)
		}
		r.tell(r.endGathered)
	}()
}

// standing is what stands on all that was gathered.
func (r *revocations) standing() *standing {
	s := &standing{verdicts: map[netip.Addr][]model.Verdict{}, redirects: map[netip.AddrPort]bool{}, identities: map[netip.Prefix]model.Identity{}}
	for _, v := range r.verdicts {
		for _, a := range v.addresses {
			s.verdicts[a] = append(s.verdicts[a], v.Verdict)
		}
	}
	for _, a := range r.redirects {
		s.redirects[a] = true
	}
	if len(s.verdicts) > 0 {
		for _, i := range r.graph.IPIdentities.All() {
			s.identities[i.Prefix] = i.Identity
		}
		r.former.forget(r.since())
		s.former = r.former.byPrefix()
	}
	return s
}
