package xds

import (
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"google.golang.org/protobuf/proto"

	"github.com/waggle-mesh/waggle/internal/model"
)

// flush sends what is pending of a type.
func (st *stream) flush(t model.ResourceType) {
	sub := st.types[t]
	if sub == nil || (len(sub.pending) == 0 && !sub.greet) {
		return
	}
	sent := st.sendPending(sub, sub.takePending())
	if sub.greet && !sent {
		st.send(t, nil, nil)
	}
	sub.greet = false
}

// sendPending sends what Envoy lacks of names, which it wants, and tells
// whether that was anything.
func (st *stream) sendPending(sub *subscription, names []string) bool {
	b := batch{st: st, typ: sub.typ}
	for _, name := range names {
		r, h := st.target[sub.typ][name], sub.held[name]
		switch {
		case r == nil && h == nil && !sub.collective(name):
			b.add(name, nil)
		case r == nil && h != nil && sub.collective(name):
			sub.gone[name] = struct{}{}
		case r == nil: // Envoy has never had it, or lets go of it itself
		case h == nil || h.sent.hash != r.hash:
			if sub.typ == model.Cluster {
				st.reloadEndpoints(r)
			}
			b.add(name, r)
		}
	}
	b.flush()
	return b.any
}

// batchBytes is about how much one response holds.
const batchBytes = 1 << 20

// alone are the types of which Envoy takes or refuses a response as a whole
// and does not say because of which resource, so each travels alone.
var alone = map[model.ResourceType]bool{
	model.ClusterLoadAssignment: true,
	model.Secret:                true,
	model.ExtensionConfig:       true,
	model.RouteConfiguration:    true,
}

// batch gathers resources into responses.
type batch struct {
	st    *stream
	typ   model.ResourceType
	items map[string]*resource
	names []string
	size  int
	any   bool // something was sent
}

func (b *batch) add(name string, r *resource) {
	if b.items == nil {
		b.items = map[string]*resource{}
	}
	b.items[name] = r
	b.names = append(b.names, name)
	if r != nil {
		b.size += len(r.body.Value)
	}
	if alone[b.typ] || b.size >= batchBytes {
		b.flush()
	}
}

func (b *batch) flush() {
	if len(b.names) == 0 {
		return
	}
	b.st.send(b.typ, b.items, b.names)
	b.items, b.names, b.size, b.any = nil, nil, 0, true
}

// reloadEndpoints makes the endpoints of a new or changed cluster pending, where
// Envoy has them already, for an earlier instance or another cluster: the new
// instance waits for them, as long as its initial_fetch_timeout, and does not
// ask.
func (st *stream) reloadEndpoints(changed *resource) {
	name := endpointsOf(changed)
	if name == "" {
		return
	}
	sub := st.types[model.ClusterLoadAssignment]
	if sub == nil {
		st.reloaded[name] = struct{}{}
		return
	}
	if sub.wants(name) {
		delete(sub.held, name)
		sub.pending[name] = struct{}{}
	}
}

// endpointsOf returns the name under which a cluster asks for its endpoints,
// or "" if it does not.
func endpointsOf(r *resource) string {
	if r == nil || r.body == nil {
		return ""
	}
	var c clusterv3.Cluster
	if err := proto.Unmarshal(r.body.Value, &c); err != nil || c.GetType() != clusterv3.Cluster_EDS {
		return ""
	}
	if name := c.GetEdsClusterConfig().GetServiceName(); name != "" {
		return name
	}
	return c.Name
}
