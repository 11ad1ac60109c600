package agent

import (
	"cmp"
	"slices"
	"strings"

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
	mostRejected = 50
	// Messages may be so long, and all together if they are not shorter than
	// shortestMessage.
	longestMessage, allMessages, shortestMessage = 1024, 8 << 10, 160
)

// Answer sums up what a node's Envoy has said. settled tells whether what leads
// connections to a listener is as it should be. Of an object that Envoy has not
// answered yet in full, what it had answered before stays; one whose rejections
// there is no room for is not answered.
func (e *EnvoyConfigs) Answer(before EnvoyAnswer, resources []xds.Status, settled func(listener string) bool) EnvoyAnswer {
	served := map[model.Ref]Config{}
	for _, c := range e.Served.All() {
		served[c.Object] = c
	}
	var all []rejection
	pending := map[model.Ref]bool{}
	for _, r := range resources {
		for _, owner := range r.Owners {
			switch {
			case r.State == model.Pending && r.Wanted:
				pending[owner] = true
			case r.State == model.Rejected:
				all = append(all, rejection{owner: owner, RejectedResource: rejectedResource(owner, served[owner].Generation, r)})
			}
		}
	}
	chosen, untold := fairly(all)
	out := EnvoyAnswer{Node: before.Node, Rejected: chosen, More: int32(len(all) - len(chosen))}
	for _, c := range served {
		for _, claim := range c.Claims {
			if !settled(claim.Listener) {
				pending[c.Object] = true
			}
		}
		if c.Part {
			pending[c.Whole] = pending[c.Whole] || pending[c.Object]
			untold[c.Whole] = untold[c.Whole] || untold[c.Object]
		}
	}
	answered := map[model.Name]int64{}
	for _, a := range before.Configs {
		answered[model.Name{Namespace: a.Namespace, Name: a.Name}] = a.Generation
	}
	for ref, c := range served {
		generation := answered[ref.Name]
		if !pending[ref] {
			generation = c.Generation
		}
		if generation != 0 && c.reported() && !untold[ref] {
			out.Configs = append(out.Configs, waggle.AnsweredConfig{Namespace: ref.Namespace, Name: ref.Name.Name, Generation: generation})
		}
	}
	slices.SortFunc(out.Configs, func(a, b waggle.AnsweredConfig) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return out
}

// rejection is a rejected resource, and when it has its turn to be told of.
type rejection struct {
	owner       model.Ref
	round, turn int
	waggle.RejectedResource
}

func (r rejection) compare(other rejection) int {
	return cmp.Or(cmp.Compare(r.Namespace, other.Namespace), cmp.Compare(r.Name, other.Name), cmp.Compare(r.Type, other.Type), cmp.Compare(r.Resource, other.Resource))
}

// fairly chooses the rejections that there is room for: of each object one
// before any other of it, and of each namespace one object before any other.
// untold are the objects that none was chosen of.
func fairly(all []rejection) (chosen []waggle.RejectedResource, untold map[model.Ref]bool) {
	slices.SortFunc(all, rejection.compare)
	rounds, turns := map[model.Ref]int{}, map[string]int{}
	for i, r := range all {
		if all[i].round = rounds[r.owner]; all[i].round == 0 {
			all[i].turn = turns[r.Namespace]
			turns[r.Namespace]++
		}
		rounds[r.owner]++
	}
	slices.SortStableFunc(all, func(a, b rejection) int { return cmp.Or(cmp.Compare(a.round, b.round), cmp.Compare(a.turn, b.turn)) })
	room := min(len(all), mostRejected)
	untold = map[model.Ref]bool{}
	for _, r := range all[room:] {
		if r.round == 0 {
			untold[r.owner] = true
		}
	}
	all = all[:room]
	slices.SortFunc(all, rejection.compare)
	for _, r := range all {
		r.Message = shortened(r.Message, min(longestMessage, max(shortestMessage, allMessages/room)))
		chosen = append(chosen, r.RejectedResource)
	}
	return chosen, untold
}

// Behind tells whether an object that is reported has a newer generation than
// the answer speaks of.
func (e *EnvoyConfigs) Behind(a EnvoyAnswer) bool {
	answered := map[model.Name]int64{}
	for _, c := range a.Configs {
		answered[model.Name{Namespace: c.Namespace, Name: c.Name}] = c.Generation
	}
	return slices.ContainsFunc(e.Served.All(), func(c Config) bool {
		return c.reported() && answered[c.Object.Name] != c.Generation
	})
}

// reported tells of an object whose status, or that of the Gateway that it was
// made for, speaks of it by itself: parts with routes alone do not count.
func (c Config) reported() bool {
	return !c.Balanced && (!c.Part || slices.ContainsFunc(c.Resources, func(r model.ProxyResource) bool { return r.Type == model.EnvoyListener }))
}

// Reported counts the objects that answers speak of.
func (e *EnvoyConfigs) Reported() (n int) {
	for _, c := range e.Served.All() {
		if c.reported() {
			n++
		}
	}
	return n
}

func rejectedResource(owner model.Ref, generation int64, r xds.Status) waggle.RejectedResource {
	return waggle.RejectedResource{
		Namespace: owner.Namespace, Name: owner.Name.Name, Generation: generation,
		Type: string(r.Type), Resource: r.Name, Message: r.Message,
	}
}

// shortened is a message of so many bytes at most.
func shortened(message string, most int) string {
	if len(message) <= most {
		return message
	}
	return strings.ToValidUTF8(message[:most], "")
}
