package operator

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/model"
)

// place is a node that is Ready, with its labels.
type place struct {
	node   string
	labels map[string]string
	serves bool // it has an Envoy, whose word counts
}

func (p place) Key() string { return p.node }

func (p place) equal(other place) bool {
	return p.node == other.node && p.serves == other.serves && maps.Equal(p.labels, other.labels)
}

// places are the nodes that are Ready.
func (c *Cluster) places(g *flow.Graph) *flow.Index[place] {
	table := flow.Derive(g, "places", c.in.Nodes, place.equal, func(r *flow.Reader, node model.Object[*corev1.Node]) []place {
		if !isReady(node.Value) {
			return nil
		}
		_, serves := flow.Get(r, c.in.EnvoyNodes, node.Name.Name)
		return []place{{node.Name.Name, node.Value.Labels, serves}}
	})
	return flow.NewIndex(table, func(place) []string { return []string{anyKey} })
}

// selected are the nodes where an object with such a selector counts, and
// those that it would count on if they had an Envoy.
func (v *voices) selected(r *flow.Reader, selector *metav1.LabelSelector) (nodes, without []string) {
	matches := labels.Everything()
	if selector != nil {
		s, err := metav1.LabelSelectorAsSelector(selector)
		if err != nil {
			return nil, nil
		}
		matches = s
	}
	for _, p := range flow.Select(r, v.places, anyKey) {
		switch {
		case !matches.Matches(labels.Set(p.labels)):
		case p.serves:
			nodes = append(nodes, p.node)
		default:
			without = append(without, p.node)
		}
	}
	slices.Sort(nodes)
	slices.Sort(without)
	return nodes, without
}

// ReasonRejected is that of Programmed where a node's Envoy has rejected a
// resource of the object. The message names the nodes.
const ReasonRejected = "Rejected"

// programmed says whether the Envoys of all nodes use a user's object.
func (v *voices) programmed(r *flow.Reader, j judged) (model.Condition, []ciliumv2.EnvoyRejection) {
	c := model.Condition{Object: j.Object, Type: ciliumv2.EnvoyConfigProgrammed, Status: "False"}
	if len(j.Problems) > 0 {
		c.Reason = "NotAccepted"
		c.Message = "nodes that had a valid version of it go on with that one"
		return c, nil
	}
	name := j.Object.Name.String()
	nodes, without := v.selected(r, j.selector)
	if refusals := v.against(r, name, j.generation, nodes); len(refusals) > 0 {
		c.Reason, c.Message = ReasonRejected, refusal(refusals)
		return c, rejections(refusals)
	}
	answers := v.answeredBy(r, j.Object.Name, j.generation)
	waiting := slices.DeleteFunc(slices.Clone(nodes), func(node string) bool { return slices.Contains(answers, node) })
	switch {
	case len(nodes) == 0:
		c.Status, c.Reason, c.Message = "Unknown", "NoNodes", "no node that is Ready serves it"
	case len(waiting) > 0:
		c.Status, c.Reason = "Unknown", "Pending"
		c.Message = fmt.Sprintf("%d of %d nodes use it; waiting for %s", len(nodes)-len(waiting), len(nodes), few(waiting))
	default:
		c.Status, c.Reason, c.Good = "True", "Programmed", true
		c.Message = fmt.Sprintf("%d of %d nodes use it", len(nodes), len(nodes))
	}
	if len(without) > 0 {
		c.Message += "; no Envoy is known on " + few(without)
	}
	silent := func(node string) bool { _, ok := flow.Get(r, v.silent, node); return ok }
	if i := slices.IndexFunc(waiting, silent); i >= 0 {
		c.Message += fmt.Sprintf("; Envoy on %s rejects more than there is room to tell of, this object perhaps", waiting[i])
	}
	return c, nil
}

// against is what the Envoys of some nodes have against a version of an object.
func (v *voices) against(r *flow.Reader, object string, generation int64, nodes []string) (out []rejected) {
	for _, x := range flow.Select(r, v.objected, object) {
		if _, counts := slices.BinarySearch(nodes, x.node); counts && x.Generation >= generation {
			out = append(out, x)
		}
	}
	return out
}

// mostRejections bounds those in a status.
const mostRejections = 16

func rejections(all []rejected) (out []ciliumv2.EnvoyRejection) {
	slices.SortFunc(all, func(a, b rejected) int {
		return cmp.Or(cmp.Compare(a.node, b.node), cmp.Compare(a.Type, b.Type), cmp.Compare(a.Resource, b.Resource))
	})
	for _, x := range all[:min(len(all), mostRejections)] {
		kind := x.Type[strings.LastIndexByte(x.Type, '.')+1:]
		out = append(out, ciliumv2.EnvoyRejection{Node: x.node, Resource: kind + " " + x.Resource, Message: x.Message})
	}
	return out
}

// few names some nodes, the first of many.
func few(nodes []string) string {
	const most = 5
	text := strings.Join(nodes[:min(most, len(nodes))], ", ")
	if more := len(nodes) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
