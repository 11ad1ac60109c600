package envoyconfig

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/waggle-mesh/waggle/internal/envoyconfig/allow"
	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/model/spell"
)

// AdminCluster is the cluster of Envoy's bootstrap that leads to its
// administration interface. Clusterwide objects name it with or without the
// slash.
const AdminCluster = "/envoy-admin"

// SecretsNamespace is where the Secrets are that agents read. Clusterwide
// objects name them "cilium-secrets/name".
const SecretsNamespace = "cilium-secrets"

// names are the names of one object.
type names struct {
	p       *parser
	defined map[model.ResourceType]map[string]resource
	broken  map[model.ResourceType]map[string]bool // what cannot be read
	asked   map[string]model.Assignment            // by name
	reading model.ResourceKey                      // whose references are looked at
	uses    uses
}

// newNames gathers what an object defines.
func newNames(p *parser) *names {
	n := &names{p: p, asked: map[string]model.Assignment{}, uses: uses{},
		defined: map[model.ResourceType]map[string]resource{}, broken: map[model.ResourceType]map[string]bool{}}
	for _, t := range types {
		n.defined[model.ResourceType(t)] = map[string]resource{}
		n.broken[model.ResourceType(t)] = map[string]bool{}
	}
	for _, r := range p.unreadable {
		if n.broken[r.kind] != nil {
			n.broken[r.kind][r.name] = true
		}
	}
	for _, r := range p.resources {
		if first, twice := n.defined[r.kind][r.name]; twice {
			p.out.Problems = append(p.out.Problems, Problem{
				Reason: ReasonInvalid, Field: r.field(), Resource: r.title(), Message: "has the name of " + first.field()})
			continue
		}
		n.defined[r.kind][r.name] = r
	}
	return n
}

// qualified is the final form of a name of the object's.
func (n *names) qualified(name string) string {
	if n.p.o.Generated() {
		return name
	}
	return n.p.o.Ref.Namespace + "/" + n.p.o.Ref.Name.Name + "/" + name
}

// meant are the types of resources that references are to.
var meant = map[allow.Reference]model.ResourceType{
	allow.Cluster: model.Cluster, allow.Route: model.RouteConfiguration, allow.Listener: model.EnvoyListener, allow.Secret: model.Secret,
}

// final gives a name its final form.
func (n *names) final(r allow.Reference, name string) (final string, why allow.Reason, problem string) {
	clusterwide := n.p.o.Ref.Kind == Clusterwide
	switch r {
	case allow.DefineCluster, allow.DefineRoute, allow.DefineListener, allow.DefineSecret, allow.DefineEndpoint:
		return n.qualified(name), "", ""
	case allow.Endpoints:
		return n.endpoints(name)
	case allow.Cluster:
		if clusterwide && strings.TrimPrefix(name, "/") == AdminCluster[1:] {
			return AdminCluster, "", ""
		}
	case allow.Secret:
		if clusterwide && strings.HasPrefix(name, SecretsNamespace+"/") {
			return name, "", ""
		}
	}
	if n.has(meant[r], name) {
		n.uses.add(n.reading, model.ResourceKey{Type: meant[r], Name: name})
		return n.qualified(name), "", ""
	}
	if strings.Contains(name, "/") || name == AdminCluster[1:] {
		why = "space"
	}
	return "", why, n.missing(meant[r], name)
}

// has tells whether the object defines a resource, readable or not.
func (n *names) has(t model.ResourceType, name string) bool {
	_, ok := n.defined[t][name]
	return ok || n.broken[t][name]
}

// missing says that the object does not define what is referred to.
func (n *names) missing(t model.ResourceType, name string) string {
	known := slices.Sorted(maps.Keys(n.defined[t]))
	message := fmt.Sprintf("the object has no %s %q", shortType(t), clip(name))
	switch near := spell.Nearest(name, known); {
	case near != "":
		message += fmt.Sprintf(", did you mean %q?", near)
	case len(known) == 0:
		message += ", nor any other"
	case len(known) <= 5:
		message += fmt.Sprintf("; it has %s", strings.Join(known, ", "))
	}
	if t == model.Cluster && strings.TrimPrefix(name, "/") == AdminCluster[1:] {
		message += "; Envoy's administration is for a CiliumClusterwideEnvoyConfig"
	}
	return message
}

func shortType(t model.ResourceType) string {
	return string(t[strings.LastIndexByte(string(t), '.')+1:])
}

// endpoints reads the name by which a cluster asks for endpoints: that of a
// ClusterLoadAssignment of the object, or "namespace/service", or
// "namespace/service:port", where the port is a number or a name.
func (n *names) endpoints(name string) (final string, why allow.Reason, problem string) {
	if n.has(model.ClusterLoadAssignment, name) {
		n.uses.add(n.reading, model.ResourceKey{Type: model.ClusterLoadAssignment, Name: name})
		return n.qualified(name), "", ""
	}
	namespace, rest, ok := strings.Cut(name, "/")
	service, port, _ := strings.Cut(rest, ":")
	if !ok || namespace == "" || service == "" || strings.Contains(rest, "/") {
		return "", "", fmt.Sprintf("%q is neither a ClusterLoadAssignment of the object nor a Service: write \"namespace/service\" or \"namespace/service:port\"", clip(name))
	}
	if port == "*" {
		port = ""
	}
	to := model.Name{Namespace: namespace, Name: service}
	if problem := n.p.mayName(to); problem != "" {
		return "", "grant", problem
	}
	n.asked[name] = model.Assignment{Name: name, Service: to, Port: port, Owner: n.p.o.Ref}
	return name, "", ""
}

// assignments are the endpoints that the object's clusters ask for.
func (n *names) assignments() (all []model.Assignment) {
	for _, name := range slices.Sorted(maps.Keys(n.asked)) {
		all = append(all, n.asked[name])
	}
	return all
}

// mayName says why the object may not have Envoy connect to a Service.
func (p *parser) mayName(to model.Name) string {
	from := p.o.Ref.Namespace
	if p.o.Generated() || p.o.Ref.Kind == Clusterwide || to.Namespace == from || p.w.Granted(from, to) {
		return ""
	}
	return fmt.Sprintf("Service %s is in another namespace, where no ReferenceGrant lets CiliumEnvoyConfigs of %s name it", clip(to.String()), from)
}

// connect says why Envoy may not connect to an address for the object.
func (p *parser) connect(address string) string {
	a, err := netip.ParseAddr(address)
	switch {
	case err != nil:
		return fmt.Sprintf("%q is no IP address; a name may lead anywhere", clip(address))
	case a.Is4In6(), a.Zone() != "":
		return fmt.Sprintf("%s: write the IPv4 address, or an IPv6 address without a zone", clip(address))
	case a.IsLoopback(), a.IsUnspecified(), a.IsLinkLocalUnicast(), a.IsMulticast():
		return fmt.Sprintf("%s is an address of the node or its link, not of a Service", a)
	case !p.w.Owns(p.o.Ref.Namespace, a):
		return fmt.Sprintf("%s is not the address of a Service of namespace %s; use a cluster of type EDS", a, p.o.Ref.Namespace)
	}
	return ""
}

// unreadable is what can be told of a resource that cannot be read.
func unreadable(text []byte) resource {
	var r struct {
		Type    string `json:"@type"`
		Name    any    `json:"name"`
		Cluster any    `json:"cluster_name"`
	}
	if json.Unmarshal(text, &r) != nil {
		return resource{}
	}
	out := resource{kind: model.ResourceType(r.Type[strings.LastIndexByte(r.Type, '/')+1:])}
	for _, name := range []any{r.Name, r.Cluster} {
		if s, ok := name.(string); ok {
			out.name = s
			break
		}
	}
	return out
}

// clip shortens what a user wrote.
func clip(s string) string {
	const longest = 120
	if len(s) <= longest {
		return s
	}
	return strings.ToValidUTF8(s[:longest], "") + "…"
}
