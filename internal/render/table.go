package render

import (
	"bytes"
	"cmp"
	"slices"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/waggle-mesh/waggle/internal/model"
)

// Host is a VirtualHost, rendered. It is kept as it will stand in a
// RouteConfiguration, so that a table of many hosts is put together by
// copying: one host edited among 300 renders one.
type Host struct {
	Table  string
	Name   string // the VirtualHost's Host
	Owners []model.Ref
	// entry is one element of RouteConfiguration.virtual_hosts on the wire:
	// tag, length, message.
	entry []byte
	// scopedEntry is the same for a scoped table, where it differs.
	scopedEntry []byte
}

// Key is the VirtualHost's.
func (h Host) Key() string { return model.Join(h.Table, h.Name) }

// Equal tells whether h and other render the same.
func (h Host) Equal(other Host) bool {
	return h.Table == other.Table && h.Name == other.Name &&
		bytes.Equal(h.entry, other.entry) && bytes.Equal(h.scopedEntry, other.scopedEntry) && slices.Equal(h.Owners, other.Owners)
}

// virtualHostsField is RouteConfiguration.virtual_hosts.
const virtualHostsField protowire.Number = 2

// RouteConfiguration renders a whole table, in any order of its hosts.
func RouteConfiguration(table string, hosts []Host) model.Resource {
	name := tableName(table)
	return assemble(name, routeConfigurationHeader(name), ownersOf(hosts), hosts...)
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

// assemble appends hosts to a marshalled header: on the wire a message is
// the concatenation of its fields.
func assemble(name string, header *routev3.RouteConfiguration, owners []model.Ref, hosts ...Host) model.Resource {
	sorted := make([]*Host, len(hosts))
	for i := range hosts {
		sorted[i] = &hosts[i]
	}
	slices.SortFunc(sorted, func(a, b *Host) int { return cmp.Compare(a.Name, b.Name) })
	start := marshal(header)
	size := len(start)
	for _, h := range sorted {
		size += len(h.entry)
	}
	body := append(make([]byte, 0, size), start...)
	for _, h := range sorted {
		body = append(body, h.entry...)
	}
	return model.Resource{
		ResourceKey: model.ResourceKey{Type: model.RouteConfiguration, Name: name},
		Body:        body,
		Owners:      owners,
	}
}

// ownersOf gives all objects that hosts were made of.
func ownersOf(hosts []Host) []model.Ref {
	var owners []model.Ref
	for _, h := range hosts {
		owners = append(owners, h.Owners...)
	}
	return distinct(owners)
}

// element is v as an element of RouteConfiguration.virtual_hosts.
func element(v *routev3.VirtualHost) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, virtualHostsField, protowire.BytesType), marshal(v))
}
