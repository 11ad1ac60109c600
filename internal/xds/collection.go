package xds

import (
	"strings"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"

	"github.com/waggle-mesh/waggle/internal/model"
)

// A collection is the resources whose names begin alike: xdstp URLs that
// differ in their last segment. Its own name ends in "/*", and a subscription
// to it is one to whatever is or comes to be in it, see
// https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol.

// isCollection tells whether a name stands for a collection.
func isCollection(name string) bool {
	return strings.HasPrefix(name, "xdstp://") && strings.HasSuffix(name, "/*")
}

// collectionOf names the collection that a resource is in, if it is in one.
func collectionOf(name string) (collection string, ok bool) {
	if !strings.HasPrefix(name, "xdstp://") || isCollection(name) {
		return "", false
	}
	return name[:strings.LastIndexByte(name, '/')+1] + "*", true
}

// collective tells whether a resource is wanted without having been named:
// then Envoy has to be told when it goes.
func (sub *subscription) collective(name string) bool {
	if sub.wildcard {
		return true
	}
	collection, ok := collectionOf(name)
	if ok {
		_, ok = sub.names[collection]
	}
	return ok
}

// join subscribes to a collection. One that is empty is answered like a
// resource that does not exist.
func (st *stream) join(sub *subscription, collection string, req *discovery.DeltaDiscoveryRequest) {
	st.note(sub.typ, collection, true)
	empty := true
	add := func(name string) {
		if in, ok := collectionOf(name); ok && in == collection {
			sub.pending[name] = struct{}{}
			empty = false
			if _, has := req.InitialResourceVersions[name]; !has {
				delete(sub.held, name)
			}
		}
	}
	for name := range sub.held {
		add(name)
	}
	for name := range st.target[sub.typ] {
		add(name)
	}
	if empty {
		sub.pending[collection] = struct{}{}
	}
}

// leave takes a collection out of a subscription: Envoy has let go of what
// was in it.
func (st *stream) leave(sub *subscription, collection string) {
	st.note(sub.typ, collection, false)
	left := map[string]*resource{}
	for name := range sub.held {
		if in, ok := collectionOf(name); ok && in == collection && !sub.wants(name) {
			left[name] = nil
			delete(sub.held, name)
			delete(sub.gone, name)
			delete(sub.kept, name)
		}
	}
	for name := range sub.pending {
		if !sub.wants(name) {
			delete(sub.pending, name)
			left[name] = nil
		}
	}
	st.record(sub.typ, left, nil)
}

// note takes down that this Envoy looks into a collection, or no more. The
// name "*" stands for all resources of the type.
func (st *stream) note(t model.ResourceType, collection string, joined bool) {
	st.server.mu.Lock()
	defer st.server.mu.Unlock()
	k := model.ResourceKey{Type: t, Name: collection}
	if joined {
		st.joined[k] = struct{}{}
		st.server.ledger.doubted[t] = struct{}{}
	} else {
		delete(st.joined, k)
	}
}

// hasAny tells whether anything is in a collection.
func hasAny(target map[string]*resource, collection string) bool {
	for name := range target {
		if in, ok := collectionOf(name); ok && in == collection {
			return true
		}
	}
	return false
}
