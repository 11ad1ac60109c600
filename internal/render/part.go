package render

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"slices"
	"strconv"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/render/cut"
)

// A host on its way to the nodes, as parts that are stored one by one:
//
//	VirtualHost ─HostParts─▶ HostPart ─Stored─▶ JSON, in an object
//	                                              │
//	      Host ◀─HostOf─ Fragments ◀─FragmentsOf──┘ (agents read them, in any order)
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
	units := make([]cut.Unit, len(v.Routes))
	for i := range v.Routes {
		units[i] = cut.Route(&v.Routes[i])
	}
	var parts []HostPart
	for _, piece := range cut.Pieces(units, partSize) {
		p := HostPart{VirtualHost: v, Suffix: piece.Suffix}
		p.Routes = nil
		for _, i := range piece.Units {
			p.Routes = append(p.Routes, v.Routes[i])
		}
		parts = append(parts, p)
	}
	return parts
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

// StoredMisdirected renders hosts of a table that answer nothing but 421, as
// one resource.
func StoredMisdirected(table string, hosts []string) []byte {
	header := routeConfigurationHeader(tableName(table))
	for _, host := range hosts {
		header.VirtualHosts = append(header.VirtualHosts,
			&routev3.VirtualHost{Name: host, Domains: domains(host), Routes: []*routev3.Route{everything(421)}})
	}
	return storedText(packed(header))
}

// StoredListener is a listener as it is stored: without an address, as every
// agent puts it to another, unless it is to be bound to some.
func StoredListener(l model.Listener, clients model.Clients, bind ...netip.Addr) []byte {
	o := ListenerOptions{Clients: clients}
	if len(bind) > 0 {
		o.Address, o.More = bind[0], bind[1:]
	}
	return storedResource(Listener(l, o))
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
