package xds

import (
	"maps"
	"slices"
	"strings"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"

	"github.com/waggle-mesh/waggle/internal/model"
)

// types are the types served, in the order of the model.
var types = []model.ResourceType{
	model.Cluster, model.ClusterLoadAssignment, model.Secret, model.ExtensionConfig,
	model.RouteConfiguration, model.ScopedRoute, model.EnvoyListener,
}

func typeFromURL(url string) model.ResourceType {
	return model.ResourceType(url[strings.LastIndexByte(url, '/')+1:])
}

// subscription is what one Envoy wants and has of one type.
type subscription struct {
	typ      model.ResourceType
	wildcard bool                // wants all: clusters, listeners, scoped routes
	names    map[string]struct{} // wants these, and what is in those that are collections
	held     map[string]*holding
	pending  map[string]struct{} // names whose target may differ from held
	asked    map[string]struct{} // of pending: subscribed to and not answered yet
	gone     map[string]struct{} // of a wildcard or collection: held, and to be removed in its turn
	kept     map[string]struct{} // held, and gone with its whole collection, see takeGone
	greeted  bool                // all has been made pending, because of wildcard
	greet    bool                // Envoy waits for a response, be it empty
}

// holding is what one Envoy has of one resource.
type holding struct {
	sent     *resource // last sent, or what Envoy said it has
	good     *resource // last acknowledged: what Envoy uses; nil if nothing
	rejected *resource // last rejected; nil if none since good
}

func (sub *subscription) wants(name string) bool {
	_, named := sub.names[name]
	return named || sub.collective(name)
}

func (sub *subscription) hold(name string) *holding {
	h := sub.held[name]
	if h == nil {
		h = &holding{}
		sub.held[name] = h
	}
	return h
}

// takePending returns the pending names, sorted, and forgets them.
func (sub *subscription) takePending() []string {
	clear(sub.asked)
	return take(sub.pending)
}

// takeAsked is takePending for the names that were asked for.
func (sub *subscription) takeAsked() []string {
	names := take(sub.asked)
	for _, name := range names {
		delete(sub.pending, name)
	}
	return names
}

func take(set map[string]struct{}) []string {
	if len(set) == 0 {
		return nil
	}
	names := slices.Sorted(maps.Keys(set))
	clear(set)
	return names
}

// subscribe begins a type on this stream. An Envoy that was connected before
// says here what it has.
func (st *stream) subscribe(t model.ResourceType, req *discovery.DeltaDiscoveryRequest) *subscription {
	sub := &subscription{
		typ:      t,
		wildcard: len(req.ResourceNamesSubscribe) == 0,
		names:    map[string]struct{}{},
		held:     map[string]*holding{},
		pending:  map[string]struct{}{},
		asked:    map[string]struct{}{},
		gone:     map[string]struct{}{},
		kept:     map[string]struct{}{},
	}
	st.types[t] = sub
	if sub.wildcard {
		st.note(t, "*", true)
	}
	known := make(map[string]*resource, len(req.InitialResourceVersions))
	for name, hash := range req.InitialResourceVersions {
		if _, again := st.reloaded[name]; again && t == model.ClusterLoadAssignment {
			continue
		}
		r := st.target[t][name]
		if r == nil || r.hash != hash {
			r = &resource{hash: hash}
		}
		sub.held[name] = &holding{sent: r, good: r}
		known[name] = r
	}
	if t == model.ClusterLoadAssignment {
		clear(st.reloaded)
	}
	st.record(t, known, func(_ string, r *resource) answer { return answer{r.hash, model.Accepted, ""} })
	return sub
}

// resubscribe adds and takes away names.
func (st *stream) resubscribe(sub *subscription, req *discovery.DeltaDiscoveryRequest) {
	for _, name := range req.ResourceNamesUnsubscribe {
		if name == "*" {
			sub.wildcard = false
			st.note(sub.typ, name, false)
			continue
		}
		delete(sub.names, name)
		delete(sub.pending, name)
		delete(sub.asked, name)
		if isCollection(name) {
			st.leave(sub, name)
			continue
		}
		if !sub.collective(name) {
			delete(sub.held, name)
			st.record(sub.typ, map[string]*resource{name: nil}, nil)
		}
	}
	for _, name := range req.ResourceNamesSubscribe {
		if name == "*" {
			sub.wildcard = true
			st.note(sub.typ, name, true)
			continue
		}
		sub.names[name] = struct{}{}
		if isCollection(name) {
			st.join(sub, name, req)
			continue
		}
		sub.asked[name] = struct{}{}
		sub.pending[name] = struct{}{}
		// Every subscription is answered, unless Envoy has just said what it
		// has.
		if _, has := req.InitialResourceVersions[name]; !has {
			delete(sub.held, name)
		}
	}
	if sub.wildcard && !sub.greeted {
		sub.greeted = true
		sub.greet = len(req.InitialResourceVersions) == 0
		for name := range st.target[sub.typ] {
			sub.pending[name] = struct{}{}
		}
		for name := range sub.held {
			sub.pending[name] = struct{}{}
		}
	}
}
