package render

import (
	"bytes"
	"cmp"
	"slices"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/waggle-mesh/waggle/internal/model"
)

// Host is a VirtualHost, rendered. It is kept as bytes, so that a table of
// many hosts is put together by copying: one host edited among 300 renders
// one.
type Host struct {
	Table  string
	Name   string // the VirtualHost's Host
	Owners []model.Ref
	// body is Envoy's VirtualHost on the wire, without its domains.
	body []byte
	// scopedBody is the same for a scoped table, where it differs.
	scopedBody []byte
}

// Key is the VirtualHost's.
func (h Host) Key() string { return model.Join(h.Table, h.Name) }

// Equal tells whether h and other render the same.
func (h Host) Equal(other Host) bool {
	return h.Table == other.Table && h.Name == other.Name &&
		bytes.Equal(h.body, other.body) && bytes.Equal(h.scopedBody, other.scopedBody) && slices.Equal(h.Owners, other.Owners)
}

// Fields of Envoy's messages.
const (
	virtualHostsField protowire.Number = 2 // RouteConfiguration.virtual_hosts
	domainsField      protowire.Number = 2 // VirtualHost.domains
)

// RouteConfiguration renders a whole table, in any order of its hosts.
func RouteConfiguration(table string, hosts []Host) model.Resource {
	name := tableName(table)
	return assemble(name, routeConfigurationHeader(name), ownersOf(hosts), domains, hosts...)
}

// routeConfigurationHeader is a RouteConfiguration before its hosts.
func routeConfigurationHeader(name string) *routev3.RouteConfiguration {
	return &routev3.RouteConfiguration{
		Name: name,
		// A host in a route stands for all ports. Envoy could strip the port
		// instead, but then backends would not see it.
		IgnorePortInHostMatching: true,
	}
}

// assemble appends hosts, under the domains that they have there, to a
// marshalled header: on the wire a message is the concatenation of its
// fields.
func assemble(name string, header *routev3.RouteConfiguration, owners []model.Ref, domains func(host string) []string, hosts ...Host) model.Resource {
	sorted := make([]*Host, len(hosts))
	for i := range hosts {
		sorted[i] = &hosts[i]
	}
	slices.SortFunc(sorted, func(a, b *Host) int { return cmp.Compare(a.Name, b.Name) })
	start := marshal(header)
	size := len(start)
	for _, h := range sorted {
		size += len(h.body) + 2*len(h.Name) + 16 // tags and lengths
	}
	body := append(make([]byte, 0, size), start...)
	for _, h := range sorted {
		body = h.appendTo(body, domains(h.Name))
	}
	return model.Resource{
		ResourceKey: model.ResourceKey{Type: model.RouteConfiguration, Name: name},
		Body:        body,
		Owners:      owners,
	}
}

// appendTo appends h as an element of RouteConfiguration.virtual_hosts.
func (h *Host) appendTo(b []byte, domains []string) []byte {
	size := len(h.body)
	for _, d := range domains {
		size += protowire.SizeTag(domainsField) + protowire.SizeBytes(len(d))
	}
	b = protowire.AppendTag(b, virtualHostsField, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(size))
	for _, d := range domains {
		b = protowire.AppendString(protowire.AppendTag(b, domainsField, protowire.BytesType), d)
	}
	return append(b, h.body...)
}

// ownersOf gives all objects that hosts were made of.
func ownersOf(hosts []Host) []model.Ref {
	var owners []model.Ref
	for _, h := range hosts {
		owners = append(owners, h.Owners...)
	}
	return distinct(owners)
}
