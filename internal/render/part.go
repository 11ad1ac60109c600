package render

import (
	"bytes"
	"encoding/json"
	"hash/fnv"
	"slices"
	"strconv"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/waggle-mesh/waggle/internal/model"
)

// A host on its way to the nodes, as parts that are stored one by one:
//
//	VirtualHost ─HostParts─▶ HostPart ─Stored─▶ JSON, in an object
//	                                              │
//	      Host ◀─HostOf─ Fragments ◀─FragmentOf───┘ (agents read them, in any order)
//
// HostOf gives what VirtualHost gives of the whole. A part is as large as is
// good for the API server, and which routes stand in it depends on their own
// objects alone: who edits one rewrites one part.

// partSize is about the most bytes of JSON that the routes of one part have,
// unless it is a single route that has more. Their clusters come on top.
const partSize = 8 << 10

// HostPart is some of the routes of a host, in order.
type HostPart struct {
	model.VirtualHost
	// Suffix tells apart the parts of one host. It is empty, or "0", "1",
	// "01", …: the beginning of the hash of its routes' objects.
	Suffix string
}

// Key is unique per table, host and part.
func (p HostPart) Key() string { return model.Join(p.VirtualHost.Key(), p.Suffix) }

// HostParts cuts a host into parts.
func HostParts(v model.VirtualHost) []HostPart {
	units := make([]unit, len(v.Routes))
	for i := range v.Routes {
		units[i] = unitOf(&v.Routes[i])
	}
	var parts []HostPart
	cut(units, "", func(suffix string, units []unit) {
		p := HostPart{VirtualHost: v, Suffix: suffix}
		p.Routes = nil
		for _, u := range units {
			p.Routes = append(p.Routes, *u.of)
		}
		parts = append(parts, p)
	})
	return parts
}

// unit is a route, with what decides where it is cut.
type unit struct {
	of     *model.Route
	object uint64 // hash of the route's object
	route  uint64 // hash of the object, rule and match
	size   int    // of JSON, about
}

func unitOf(r *model.Route) unit {
	object := r.Origin.Object.Key()
	return unit{of: r, object: hash(object), route: hash(object, strconv.Itoa(r.Origin.Rule), strconv.Itoa(r.Origin.Match)), size: storedSize(r)}
}

func hash(parts ...string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(model.Join(parts...)))
	sum := h.Sum64()
	return (sum ^ sum>>32) * 0x9e3779b97f4a7c15 // FNV's first bits change little
}

// cut divides units that are too many for one part in two, by the next bit of
// their objects' hashes, or of their own where all have one object.
func cut(units []unit, suffix string, give func(suffix string, units []unit)) {
	size, several, bit := 0, false, len(suffix)
	for _, u := range units {
		size += u.size
		several = several || u.object != units[0].object
	}
	if size <= partSize || len(units) == 1 || bit == 2*64 {
		give(suffix, units)
		return
	}
	var halves [2][]unit
	for _, u := range units {
		by := u.object
		if !several {
			by = u.route
		}
		half := by >> (63 - bit%64) & 1
		halves[half] = append(halves[half], u)
	}
	for i, half := range halves {
		if len(half) > 0 {
			cut(half, suffix+strconv.Itoa(i), give)
		}
	}
}

// storedSize is about how many bytes of JSON a route takes.
func storedSize(r *model.Route) int {
	n := 400 + len(r.Origin.Object.Namespace) + 2*len(r.Origin.Object.Name.Name) + len(r.Match.Path.Value) + len(r.Match.Method)
	for _, m := range slices.Concat(r.Match.Headers, r.Match.Query) {
		n += 70 + len(m.Name) + len(m.Value)
	}
	n += mutationSize(r.RequestHeaders) + mutationSize(r.ResponseHeaders)
	if f := r.Forward; f != nil {
		for _, b := range f.Backends {
			n += 60 + len(b.Backend.Key()) + mutationSize(b.RequestHeaders) + mutationSize(b.ResponseHeaders)
		}
		n += 170*len(f.Mirrors) + 200
	}
	if c := r.CORS; c != nil {
		n += 300
		for _, s := range slices.Concat(c.AllowOrigins, c.AllowMethods, c.AllowHeaders, c.ExposeHeaders) {
			n += 40 + len(s)
		}
	}
	return n
}

func mutationSize(m model.HeaderMutation) (n int) {
	for _, h := range slices.Concat(m.Set, m.Add) {
		n += 100 + len(h.Name) + len(h.Value)
	}
	for _, name := range m.Remove {
		n += 4 + len(name)
	}
	return n
}

// Stored is what is stored of a part, in one object.
type Stored struct {
	// Resources are Envoy's messages in JSON, each with its "@type": the
	// RouteConfiguration with the host, then clusters.
	Resources [][]byte
	// Backends are those of the clusters, in their order.
	Backends []model.Backend
}

// Stored renders the part.
func (p HostPart) Stored() (out Stored) {
	host := &routev3.VirtualHost{Name: p.Host, Domains: domains(p.Host)}
	if p.Misdirected {
		host.Routes = []*routev3.Route{everything(421)}
	}
	for _, r := range p.Routes {
		order := r.Order()
		for i, one := range route(r, p.Host, authority) {
			one.Metadata = orderMetadata(order + " " + strconv.Itoa(i))
			host.Routes = append(host.Routes, one)
		}
		out.Backends = append(out.Backends, backendsOf(r)...)
	}
	slices.SortFunc(out.Backends, compareBackends)
	out.Backends = slices.Compact(out.Backends)
	header := routeConfigurationHeader(tableName(p.Table))
	header.VirtualHosts = []*routev3.VirtualHost{host}
	out.Resources = append(out.Resources, storedText(packed(header)))
	for _, b := range out.Backends {
		out.Resources = append(out.Resources, storedResource(Cluster(b)))
	}
	return out
}

// StoredListener is a listener as it is stored: without an address, as every
// agent puts it to another.
func StoredListener(l model.Listener, clients model.ClientAddress) []byte {
	return storedResource(Listener(l, ListenerOptions{Clients: clients}))
}

func backendsOf(r model.Route) (out []model.Backend) {
	if r.Forward == nil {
		return nil
	}
	for _, b := range r.Forward.Backends {
		out = append(out, b.Backend)
	}
	for _, m := range r.Forward.Mirrors {
		out = append(out, m.Backend)
	}
	return slices.DeleteFunc(out, model.Backend.IsZero)
}

func compareBackends(a, b model.Backend) int { return bytes.Compare([]byte(a.Key()), []byte(b.Key())) }

func storedResource(r model.Resource) []byte {
	return storedText(&anypb.Any{TypeUrl: r.Type.TypeURL(), Value: r.Body})
}

// storedText is m as JSON that an API server gives back byte by byte: fields
// sorted by name, no spaces.
func storedText(m *anypb.Any) []byte {
	written, err := protojson.Marshal(m)
	if err != nil {
		panic(err) // it is made of types that this package knows
	}
	decoder := json.NewDecoder(bytes.NewReader(written))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		panic(err)
	}
	sorted, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return sorted
}

// orderNamespace is where a route's metadata say where it stands.
const orderNamespace = "waggle.order"

func orderMetadata(order string) *corev3.Metadata {
	return &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{
		orderNamespace: {Fields: map[string]*structpb.Value{"key": structpb.NewStringValue(order)}},
	}}
}
