package daemon

import (
	"net/netip"
	"slices"
	"time"

	"github.com/waggle-mesh/waggle/internal/agent/proxy"
	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/reconcile"
)

// revocations ends Envoy's connections, both legs, that stand on what is no
// more: the programs judge connections when they begin, and Envoy keeps them.
// It is the graph's owner's.
type revocations struct {
	a       *node
	pending map[string]model.Verdict // rows as they were, until the maps have what they are
}

// changed takes note of verdicts that are taken back. One that only allows more
// than before takes nothing back.
func (r *revocations) changed(changes []flow.Change[model.Verdict]) {
	for _, c := range changes {
		switch {
		case c.HadOld && c.Old.Action == model.Deny:
		case c.HadOld:
			r.pending[c.Key] = c.Old
		case c.New.Action != model.Allow: // what had no verdict of its own so far
			r.pending[c.Key] = c.New
		}
	}
}

// written is told that the maps have a verdict, or have it no more.
func (r *revocations) written(o reconcile.Outcome[struct{}]) {
	old, ok := r.pending[o.RowKey]
	if !ok || o.Err != nil {
		return
	}
	delete(r.pending, o.RowKey)
	if old.Protocol != model.TCP && old.Protocol != model.AnyProtocol {
		return
	}
	for _, e := range r.a.graph.PodEndpoints.All() {
		if e.ID == old.Endpoint {
			r.end("a verdict", r.standingOn(old, e.Addresses))
		}
	}
}

// standingOn finds the connections that a verdict was about, by their ends in
// the node's stack.
func (r *revocations) standingOn(v model.Verdict, endpoint []netip.Addr) func(local, remote netip.AddrPort) bool {
	identities := map[netip.Prefix]model.Identity{}
	if v.Identity != 0 {
		for _, i := range r.a.graph.IPIdentities.All() {
			identities[i.Prefix] = i.Identity
		}
	}
	return standing(v, endpoint, identities)
}

// standing is standingOn with all that it looks at.
func standing(v model.Verdict, endpoint []netip.Addr, identities map[netip.Prefix]model.Identity) func(local, remote netip.AddrPort) bool {
	ours := func(a netip.Addr) bool { return slices.Contains(endpoint, a) }
	port := func(p uint16) bool { return v.Port == 0 || p == v.Port }
	peer := func(a netip.Addr) bool { return v.Identity == 0 || identityOf(a, identities) == v.Identity }
	if v.Direction == model.Ingress {
		return func(local, remote netip.AddrPort) bool {
			upstream := ours(remote.Addr()) && port(remote.Port()) && peer(local.Addr())
			client := ours(local.Addr()) && port(local.Port()) && peer(remote.Addr())
			return upstream || client
		}
	}
	return func(local, remote netip.AddrPort) bool {
		// A Service's address is nobody's: the verdict was about its backend.
		client := ours(remote.Addr()) && port(local.Port()) && (peer(local.Addr()) || identityOf(local.Addr(), identities) == 0)
		upstream := ours(local.Addr()) && port(remote.Port()) && peer(remote.Addr())
		return upstream || client
	}
}

// identityOf is the identity of the longest prefix that has an address; 0: none.
func identityOf(a netip.Addr, identities map[netip.Prefix]model.Identity) model.Identity {
	for bits := a.BitLen(); bits >= 0; bits-- {
		if prefix, err := a.Prefix(bits); err == nil {
			if i, ok := identities[prefix]; ok && bits > 0 {
				return i
			}
		}
	}
	return 0
}

// frontendsChanged ends what still goes through Envoy to addresses that lead
// there no more, when Envoy has had its time to let it end.
func (r *revocations) frontendsChanged(changes []flow.Change[model.Frontend]) {
	for _, c := range changes {
		if !c.HadOld || c.Old.Redirect == "" || c.HasNew && c.New.Redirect != "" {
			continue
		}
		time.AfterFunc(proxy.Limit, func() {
			r.a.tell(func() {
				if now, ok := r.a.graph.Frontends.Get(c.Key); ok && now.Redirect != "" {
					return
				}
				r.end("a redirect", func(local, _ netip.AddrPort) bool {
					return local == c.Old.Address || c.Old.Address.Addr().IsUnspecified() && local.Port() == c.Old.Address.Port()
				})
			})
		})
	}
}

// end ends connections, beside the graph's owner.
func (r *revocations) end(because string, match func(local, remote netip.AddrPort) bool) {
	go func() {
		ended, err := r.a.link.DestroyConnections(match)
		if err != nil {
			r.a.log.Warn("end connections", "because", because+" was taken back", "error", err)
		}
		if ended > 0 {
			r.a.log.Info("connections ended", "because", because+" was taken back", "connections", ended)
		}
	}()
}
