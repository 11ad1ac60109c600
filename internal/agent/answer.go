package agent

import (
	"cmp"
	"slices"
	"strings"

	waggle "github.com/waggle-mesh/waggle/api/waggle.io/v1alpha1"
	"github.com/waggle-mesh/waggle/internal/envoyconfig"
	"github.com/waggle-mesh/waggle/internal/flow"
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

// Answer sums up what a node's Envoy has said: unaccepted are the resources that
// it has not accepted. settled tells whether what leads connections to a listener
// is as it should be. Of an object that Envoy has not answered yet in full, what
// it had answered before stays; one whose rejections there is no room for is not
// answered. It costs what is unaccepted and reported, however many routes there
// are.
func (e *EnvoyConfigs) Answer(before EnvoyAnswer, unaccepted []xds.Status, settled func(listener string) bool) EnvoyAnswer {
	reported := e.reported.All()
	pending, all := e.open(unaccepted)
	for _, c := range reported {
		if slices.ContainsFunc(c.Claims, func(claim envoyconfig.Claim) bool { return !settled(claim.Listener) }) {
			pending[c.Object] = true
		}
	}
	chosen, untold := fairly(all)
	e.spread(pending)
	e.spread(untold)
	out := EnvoyAnswer{Node: before.Node, Rejected: chosen, More: int32(len(all) - len(chosen))}
	answered := before.generations()
	for _, c := range reported {
		generation := answered[c.Object.Name]
		if !pending[c.Object] {
			generation = c.Generation
		}
		if generation != 0 && !untold[c.Object] {
			out.Configs = append(out.Configs, waggle.AnsweredConfig{Namespace: c.Object.Namespace, Name: c.Object.Name.Name, Generation: generation})
		}
	}
	slices.SortFunc(out.Configs, func(a, b waggle.AnsweredConfig) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return out
}

// open finds the objects that wait for Envoy, and what it has rejected of others.
func (e *EnvoyConfigs) open(unaccepted []xds.Status) (pending map[model.Ref]bool, rejected []rejection) {
	pending = map[model.Ref]bool{}
	for _, r := range unaccepted {
		for _, owner := range r.Owners {
			switch {
			case r.State == model.Pending && r.Wanted:
				pending[owner] = true
			case r.State == model.Rejected:
				var generation int64
				if c, ok := e.Served.Get(owner.Key()); ok {
					generation = c.Generation
				}
				rejected = append(rejected, rejection{owner: owner, RejectedResource: rejectedResource(owner, generation, r)})
			}
		}
	}
	return pending, rejected
}

// spread says of whole objects what is said of their parts.
func (e *EnvoyConfigs) spread(said map[model.Ref]bool) {
	var wholes []model.Ref
	for ref := range said {
		if c, ok := e.Served.Get(ref.Key()); ok && c.Part {
			wholes = append(wholes, c.Whole)
		}
	}
	for _, whole := range wholes {
		said[whole] = true
	}
}

// generations are those that Envoy has answered.
func (a EnvoyAnswer) generations() map[model.Name]int64 {
	answered := map[model.Name]int64{}
	for _, c := range a.Configs {
		answered[model.Name{Namespace: c.Namespace, Name: c.Name}] = c.Generation
	}
	return answered
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
	answered := a.generations()
	return slices.ContainsFunc(e.reported.All(), func(c *Config) bool { return answered[c.Object.Name] != c.Generation })
}

// reportedConfigs are those whose status, or that of the Gateway that they were
// made for, speaks of them by themselves: parts with routes alone do not count.
func (e *EnvoyConfigs) reportedConfigs(g *flow.Graph) *flow.Table[*Config] {
	return flow.Derive(g, "reported configs", e.Served, same[*Config], func(_ *flow.Reader, c *Config) []*Config {
		if c.Balanced || c.Part && !slices.ContainsFunc(c.Resources, func(r model.ProxyResource) bool { return r.Type == model.EnvoyListener }) {
			return nil
		}
		return []*Config{c}
	})
}

// Reported counts the objects that answers speak of.
func (e *EnvoyConfigs) Reported() int { return e.reported.Len() }

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
