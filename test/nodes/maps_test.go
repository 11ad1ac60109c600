package nodes

import (
	"fmt"
	"net/netip"
	"path/filepath"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/waggle-mesh/waggle/internal/datapath/redirect"
)

// Tests write the maps' entries themselves: what the agent makes of Services
// and policies is not their matter. The structs are those of bpf/maps.h.
type (
	be16       [2]byte
	address    [16]byte
	ipcacheKey struct {
		Bits uint32
		Addr address
	}
	ipcacheValue struct {
		Identity, Flags uint32
		Node            address
	}
	endpointValue struct {
		ID, Identity, Index, Revision uint32
		MAC, HostMAC                  [6]byte
		Enforce                       uint8
		_                             [3]byte
		Namespace                     uint64
	}
	policyKey struct {
		Endpoint, Identity uint32
		Port               be16
		Proto, Direction   uint8
	}
	policyValue struct {
		Proxy  uint16
		Action uint8
		_      uint8
		Rule   uint32
	}
	frontendKey struct {
		Addr         address
		Port         be16
		Proto, Scope uint8
	}
	frontendValue struct {
		Set   uint32
		Proxy uint16
		Flags uint8
		_     uint8
		ID    uint32
	}
	slotKey      struct{ Set, Slot uint32 }
	backendValue struct {
		Addr         address
		Port         be16
		Proto, Flags uint8
	}
)

const (
	inCluster                  = 1 // of ipcache
	redirected, rejected       = 32, 64
	ingress, egress            = 0, 1
	allow, deny, toProxy       = 1, 2, 3
	fromOutside, fromTheInside = 0, 1
	tcp                        = 6
)

func port(p uint16) be16 { return be16{byte(p >> 8), byte(p)} }

func (n *labNode) table(name string) *ebpf.Map {
	n.t.Helper()
	paths, _ := filepath.Glob(filepath.Join(n.BPFFS, "waggle", "maps-*", name))
	states, _ := filepath.Glob(filepath.Join(n.BPFFS, "waggle", "state", name+"-*"))
	paths = append(paths, states...)
	if len(paths) != 1 {
		n.t.Fatalf("%s has %d maps called %s", n.Name, len(paths), name)
	}
	m, err := ebpf.LoadPinnedMap(paths[0], nil)
	n.must("open map "+name, err)
	return m
}

func (n *labNode) put(table string, key, value any) {
	n.t.Helper()
	m := n.table(table)
	defer m.Close()
	n.must(fmt.Sprintf("write %+v into map %s", key, table), m.Put(key, value))
}

func (n *labNode) remove(table string, key any) {
	n.t.Helper()
	m := n.table(table)
	defer m.Close()
	n.must(fmt.Sprintf("remove %+v from map %s", key, table), m.Delete(key))
}

// loadPods writes who is who, on every node the same, and which pods are here.
func (n *labNode) loadPods(l *lab) {
	known := map[*Pod]uint32{l.a: idA, l.c: idC, l.e: idE, l.b: idB, l.d: idD}
	for pod, id := range known {
		for _, a := range []netip.Addr{pod.Addr4, pod.Addr6} {
			n.isKnown(a, id)
			if pod.Node != n.Node {
				continue
			}
			n.put("endpoints", address(a.As16()), endpointValue{
				ID: id, Identity: id, Index: uint32(pod.Index), Revision: 1, MAC: [6]byte(pod.MAC), HostMAC: [6]byte(pod.HostMAC),
				Namespace: n.cookieOf(pod),
			})
		}
	}
	for _, other := range l.Nodes {
		id := uint32(6)
		if other == n.Node {
			id = 1
		}
		n.isKnown(other.gateway4(), id)
		n.isKnown(other.Addr4, id)
		n.isKnown(other.Addr6, id)
		n.isKnown(other.Ingress4, 8)
		n.isKnown(other.Ingress6, 8)
	}
}

// cookieOf names a pod's network namespace as the programs see it.
func (n *labNode) cookieOf(p *Pod) (cookie uint64) {
	n.t.Helper()
	n.must("ask for the cookie of "+p.Name, p.ns.do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		cookie, err = unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
		return err
	}))
	return cookie
}

func (n *labNode) isKnown(a netip.Addr, identity uint32) {
	n.t.Helper()
	n.put("ipcache", ipcacheKey{128, a.As16()}, ipcacheValue{Identity: identity, Flags: inCluster})
}

// verdict tells what an endpoint's policy says about a peer, TCP and a port.
func (n *labNode) verdict(endpoint uint32, direction uint8, peer uint32, at uint16, action uint8, k uint16) {
	n.t.Helper()
	n.put("policy", policyKey{endpoint, peer, port(at), tcp, direction}, policyValue{Proxy: k, Action: action})
}

// noVerdict takes it back.
func (n *labNode) noVerdict(endpoint uint32, direction uint8, peer uint32, at uint16) {
	n.t.Helper()
	n.remove("policy", policyKey{endpoint, peer, port(at), tcp, direction})
}

// service makes backends answer at an address for everybody; with k, a proxy
// listener does.
func (n *labNode) service(at netip.AddrPort, set uint32, k uint16, backends ...netip.AddrPort) {
	n.t.Helper()
	for i, b := range backends {
		n.put("backends", slotKey{set, uint32(i)}, backendValue{Addr: b.Addr().As16(), Port: port(b.Port()), Proto: tcp})
	}
	n.put("sets", set, uint32(len(backends)))
	value := frontendValue{Set: set, Proxy: k, ID: set}
	if k != 0 {
		value.Flags = redirected
	}
	for _, scope := range []uint8{fromOutside, fromTheInside} {
		n.put("frontends", frontendKey{at.Addr().As16(), port(at.Port()), tcp, scope}, value)
	}
}

// listening waits until a listener lives in the active generation.
func (n *labNode) listening(ks ...uint16) {
	n.t.Helper()
	n.eventually(fmt.Sprintf("listeners %v live", ks), func() bool {
		active, err := n.proxy.Active()
		n.must("read who is active", err)
		live, err := n.proxy.Listening(active.Current)
		n.must("read who listens", err)
		for _, k := range ks {
			if live[k] != (redirect.Families{IPv4: true, IPv6: true}) {
				return false
			}
		}
		return true
	})
}
