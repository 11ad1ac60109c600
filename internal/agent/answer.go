package agent

import (
	"cmp"
	"maps"
	"slices"

	waggle "github.com/waggle-mesh/waggle/api/waggle.io/v1alpha1"
	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/xds"
)

// EnvoyAnswer is the EnvoyNode that a node's agent writes.
type EnvoyAnswer struct {
	Node     string
	Configs  []waggle.AnsweredConfig
	Rejected []waggle.RejectedResource
	More     int32
}

// Key is the node's name.
func (a EnvoyAnswer) Key() string { return a.Node }

// Equal tells whether a and other say the same.
func (a EnvoyAnswer) Equal(other EnvoyAnswer) bool {
	return a.Node == other.Node && slices.Equal(a.Configs, other.Configs) && slices.Equal(a.Rejected, other.Rejected) && a.More == other.More
}

// Bounds of an EnvoyNode.
const (
	mostRejected   = 50
	longestMessage = 1024
)

// Answer sums up what a node's Envoy has said. settled tells whether what leads
// connections to a listener is as it should be. Of an object that Envoy has not
// answered yet in full, what it had answered before stays.
func (e *EnvoyConfigs) Answer(before EnvoyAnswer, resources []xds.Status, settled func(listener string) bool) EnvoyAnswer {
	pending := map[model.Ref]bool{}
	out := EnvoyAnswer{Node: before.Node}
	served := map[model.Ref]Config{}
	for _, c := range e.Served.All() {
		served[c.Object] = c
	}
	for _, r := range resources {
		for _, owner := range r.Owners {
			switch {
			case r.State == model.Pending && r.Wanted:
				pending[owner] = true
			case r.State == model.Rejected:
				out.Rejected = append(out.Rejected, rejectedResource(owner, served[owner].Generation, r))
			}
		}
	}
	for _, c := range served {
		if c.Part && pending[c.Object] {
			pending[c.Whole] = true
		}
		for _, claim := range c.Claims {
			if !settled(claim.Listener) {
				pending[c.Object] = true
			}
		}
	}
	answered := map[model.Name]int64{}
	for _, a := range before.Configs {
		answered[model.Name{Namespace: a.Namespace, Name: a.Name}] = a.Generation
	}
	for _, ref := range slices.SortedFunc(maps.Keys(served), model.Ref.Compare) {
		c := served[ref]
		generation := answered[ref.Name]
		if !pending[ref] {
			generation = c.Generation
		}
		if generation != 0 && !c.Part {
			out.Configs = append(out.Configs, waggle.AnsweredConfig{Namespace: ref.Namespace, Name: ref.Name.Name, Generation: generation})
		}
	}
	slices.SortFunc(out.Configs, func(a, b waggle.AnsweredConfig) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	slices.SortFunc(out.Rejected, func(a, b waggle.RejectedResource) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Type, b.Type), cmp.Compare(a.Resource, b.Resource))
	})
	if more := len(out.Rejected) - mostRejected; more > 0 {
		out.Rejected, out.More = out.Rejected[:mostRejected], int32(more)
	}
	return out
}

// Behind tells whether an object that is no part has a newer generation than
// the answer speaks of.
func (e *EnvoyConfigs) Behind(a EnvoyAnswer) bool {
	answered := map[model.Name]int64{}
	for _, c := range a.Configs {
		answered[model.Name{Namespace: c.Namespace, Name: c.Name}] = c.Generation
	}
	return slices.ContainsFunc(e.Served.All(), func(c Config) bool {
		return !c.Part && answered[c.Object.Name] != c.Generation
	})
}

// Wholes counts the objects that are no parts of others.
func (e *EnvoyConfigs) Wholes() (n int) {
	for _, c := range e.Served.All() {
		if !c.Part {
			n++
		}
	}
	return n
}

func rejectedResource(owner model.Ref, generation int64, r xds.Status) waggle.RejectedResource {
	message := r.Message
	if len(message) > longestMessage {
		message = message[:longestMessage]
	}
	return waggle.RejectedResource{
		Namespace: owner.Namespace, Name: owner.Name.Name, Generation: generation,
		Type: string(r.Type), Resource: r.Name, Message: message,
	}
}
