package datapath

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/cilium/ebpf"

	"github.com/waggle-mesh/waggle/internal/datapath/kernel"
	"github.com/waggle-mesh/waggle/internal/datapath/names"
	"github.com/waggle-mesh/waggle/internal/datapath/pin"
	"github.com/waggle-mesh/waggle/internal/model"
)

// Row is an entry of a map in words.
type Row struct{ Key, Value string }

// Rows are the entries of a map, by key. It goes by our name or Cilium's.
func (r *Reader) Rows(name string) ([]Row, error) {
	alias, ok := aliases[name]
	if !ok {
		alias.name = name
	}
	m, ok := r.maps[alias.name]
	show, known := shows[alias.name]
	if !ok || !known {
		return nil, fmt.Errorf("no map %q: there are %s", name, strings.Join(mapNames(), ", "))
	}
	rows, err := show(r, m, alias.family)
	if err != nil {
		return nil, fmt.Errorf("read map %s: %w", name, err)
	}
	slices.SortFunc(rows, func(a, b Row) int { return strings.Compare(a.Key, b.Key) })
	return rows, nil
}

func mapNames() []string {
	var names []string
	for name := range shows {
		names = append(names, name)
	}
	for name := range aliases {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

var shows = map[string]func(r *Reader, m *ebpf.Map, family string) ([]Row, error){
	"frontends": show(frontendRow), "sets": show(setRow), "backends": show(backendRow), "conntrack": show(connRow),
	"ipcache": show(ipcacheRow), "endpoints": show(endpointRow), "policy": show(policyRow), "vips": show(vipRow),
	"fragments": show(fragmentRow), "names": show(nameRow),
	"connected": func(r *Reader, _ *ebpf.Map, _ string) ([]Row, error) { return r.socketRows() },
	"metrics":   func(r *Reader, _ *ebpf.Map, _ string) ([]Row, error) { return r.metricRows() },
}

// show makes rows of a map's entries; those of another family are left out.
func show[K, V any](f func(r *Reader, key K, value V) (row Row, family string)) func(*Reader, *ebpf.Map, string) ([]Row, error) {
	return func(r *Reader, m *ebpf.Map, family string) ([]Row, error) {
		var rows []Row
		var key K
		var value V
		entries := m.Iterate()
		for entries.Next(&key, &value) {
			if row, of := f(r, key, value); family == "" || family == of {
				rows = append(rows, row)
			}
		}
		return rows, entries.Err()
	}
}

func endOf(a nodeAddr, port uint16) netip.AddrPort { return netip.AddrPortFrom(a.addr(), be16(port)) }

var frontendFlags = []string{"ClusterIP", "NodePort", "LoadBalancer", "ExternalIP", "keep-source", "l7-load-balancer", "reject"}

// nameOf is the name behind a number, without its kind.
func (r *Reader) nameOf(number uint32, kind string) string {
	var name names.Text
	if m := r.maps["names"]; m == nil || m.Lookup(number, &name) != nil {
		return fmt.Sprint(number)
	}
	return strings.TrimPrefix(name.String(), kind)
}

func frontendRow(r *Reader, k nodeFrontendKey, v nodeFrontend) (Row, string) {
	scope := "internal"
	if k.Scope == uint8(nodeScopeSCOPE_EXTERNAL) {
		scope = "external"
	}
	value := fmt.Sprintf("%s set %d [%s]", r.nameOf(v.Id, names.Service), v.Set, names.Flags(uint32(v.Flags), frontendFlags))
	if v.Flags&frontendRedirect != 0 {
		value += fmt.Sprintf(" (L7LB Proxy Port: %d)", v.Proxy)
	}
	return Row{fmt.Sprintf("%s %s", k, scope), value}, names.Family(k.Addr.addr())
}

func setRow(r *Reader, number uint32, v nodeSet) (Row, string) {
	return Row{fmt.Sprint(number), fmt.Sprintf("%d backends of %s", v.Count, r.nameOf(number, names.Set))}, ""
}

func backendRow(_ *Reader, k nodeSlotKey, v nodeBackend) (Row, string) {
	key := fmt.Sprintf("%d (%d)", k.Set, k.Slot)
	if k.Set&setLeaving != 0 {
		key = fmt.Sprintf("%d (leaving)", k.Set&^setLeaving)
	}
	return Row{key, v.String()}, names.Family(v.Addr.addr())
}

var connFlags = []string{"reply", "dnat", "snat", "proxy", "fin", "answered", "snat-port", "fin-back", "reset", "inside", "away", "back-away", "unsure"}

func connRow(_ *Reader, k nodeConnKey, v nodeConn) (Row, string) {
	way := ""
	if v.Flags&connSNAT != 0 {
		way += " from " + endOf(v.Src, v.Sport).String()
	}
	if v.Flags&connDNAT != 0 {
		way += " to " + endOf(v.Dst, v.Dport).String()
	}
	if v.Flags&connProxy != 0 {
		way += fmt.Sprintf(" proxy %d at %d", v.Proxy, v.Base+v.Proxy)
	}
	now, _ := kernel.Monotonic()
	silent := max(0, now-time.Duration(v.Seen)).Truncate(time.Second)
	key := fmt.Sprintf("%s %s -> %s", names.Protocol(k.Proto), endOf(k.Src, k.Sport), endOf(k.Dst, k.Dport))
	if k.Table == uint8(nodeConnTableCONN_NAT) {
		key += " nat"
	}
	return Row{key, fmt.Sprintf("[%s]%s identity %d endpoint %d silent %s", names.Flags(v.Flags, connFlags), way, v.Identity, v.Endpoint, silent)},
		names.Family(k.Dst.addr())
}

func ipcacheRow(_ *Reader, k nodeIpcacheKey, v nodeIpcache) (Row, string) {
	value := fmt.Sprintf("identity=%d", v.Identity)
	if v.Flags&ipcacheCluster != 0 {
		value += " cluster"
	}
	if node := v.Node.addr(); !node.IsUnspecified() {
		value += " node=" + node.String()
	}
	return Row{k.prefix().String(), value}, ""
}

func endpointRow(_ *Reader, k nodeAddr, v nodeEndpoint) (Row, string) {
	return Row{k.addr().String(), fmt.Sprintf("id=%d sec_id=%d ifindex=%d mac=%s nodemac=%s revision=%d enforce=%s", v.Id, v.Identity,
		v.Ifindex, names.MAC(v.Mac), names.MAC(v.HostMac), v.Revision, names.Flags(uint32(v.Enforce), []string{"ingress", "egress", "all-ingress", "all-egress"}))}, ""
}

func policyRow(r *Reader, k nodePolicyKey, v nodePolicy) (Row, string) {
	direction, action := "Ingress", map[uint8]string{1: "Allow", 2: "Deny", 3: "Proxy"}[v.Action]
	if k.Direction == uint8(model.Egress) {
		direction = "Egress"
	}
	value := action
	if v.Proxy != 0 {
		value += fmt.Sprintf(" %d", v.Proxy)
	}
	return Row{fmt.Sprintf("%d %s: %d %d/%s", k.Endpoint, direction, k.Identity, be16(k.Port), model.L4Protocol(k.Proto)),
		value + " by " + r.nameOf(v.Rule, names.Rule)}, ""
}

func (r *Reader) socketRows() ([]Row, error) {
	sockets, err := pin.Read[nodeConnectedSocket](r.sockets)
	var rows []Row
	for _, s := range sockets {
		rows = append(rows, Row{
			fmt.Sprintf("%d in net:[%d]", s.Cookie, s.Netns),
			fmt.Sprintf("%s %s at %s", names.Protocol(s.With.Proto), endOf(s.With.Service, s.With.ServicePort), endOf(s.With.Backend, s.With.BackendPort)),
		})
	}
	return rows, err
}

func vipRow(_ *Reader, addr nodeAddr, v nodeVip) (Row, string) {
	return Row{addr.addr().String(), fmt.Sprintf("%d frontends", v.Ports)}, names.Family(addr.addr())
}

func fragmentRow(_ *Reader, _ nodeSeatKey, v nodeFragment) (Row, string) {
	return Row{fmt.Sprintf("%s %s -> %s id %d", names.Protocol(v.Proto), v.Src.addr(), v.Dst.addr(), v.Id),
		fmt.Sprintf("%d -> %d", be16(v.Sport), be16(v.Dport))}, ""
}

func nameRow(_ *Reader, number uint32, v names.Text) (Row, string) {
	return Row{fmt.Sprint(number), v.String()}, ""
}

// Service is a Service's address and what is behind it, for commands.
type Service struct {
	ID       uint32
	Name     string // namespace/name:port
	Frontend string // address:port/protocol
	Scope    string // "internal": asked by pods and nodes; "external"
	Type     string // kind and flags
	Backends []string
	Listener uint16 // logical number of the listener that gets it; 0: none
}

// Services are all frontends, by address.
func (r *Reader) Services() ([]Service, error) {
	var services []Service
	var key nodeFrontendKey
	var value nodeFrontend
	entries := r.maps["frontends"].Iterate()
	for entries.Next(&key, &value) {
		row, _ := frontendRow(r, key, value)
		frontend, scope, _ := strings.Cut(row.Key, " ")
		s := Service{
			ID: value.Id, Name: r.nameOf(value.Id, names.Service), Frontend: frontend, Scope: scope,
			Type: names.Flags(uint32(value.Flags), frontendFlags), Listener: value.Proxy,
		}
		var set nodeSet
		if err := r.maps["sets"].Lookup(value.Set, &set); err == nil {
			for slot := range set.Count {
				var b nodeBackend
				if err := r.maps["backends"].Lookup(nodeSlotKey{Set: value.Set, Slot: slot}, &b); err == nil {
					s.Backends = append(s.Backends, b.String())
				}
			}
		}
		slices.Sort(s.Backends)
		services = append(services, s)
	}
	slices.SortFunc(services, func(a, b Service) int {
		return strings.Compare(a.Frontend+" "+a.Scope, b.Frontend+" "+b.Scope)
	})
	return services, entries.Err()
}
