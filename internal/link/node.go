package link

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/waggle-mesh/waggle/internal/model"
)

// Marks of what is ours, so that nothing else is ever touched.
const (
	protocolNode = 87 // of routes to other nodes' pods, of the node's own addresses, of the proxy's rule and table
	protocolPod  = 88 // of routes to this node's pods
	deviceGroup  = 0x7767
	addressLabel = "lo:waggle" // of IPv4 addresses that versions before gave lo
)

// Where packets that are marked for the proxy are found to be local.
const (
	ProxyMark, ProxyMarkMask = 0x200, 0xf00
	proxyTable               = 2004
	proxyPriority            = 9 // before the main table's
)

type family int

const (
	ipv4 family = unix.AF_INET
	ipv6 family = unix.AF_INET6
)

func familyOf(a netip.Addr) family {
	if a.Is4() {
		return ipv4
	}
	return ipv6
}

// Options of a Node.
type Options struct {
	// Addresses of the node as other nodes know them; the uplink has one of
	// them.
	Addresses []netip.Addr
	// Uplink is the device towards the other nodes; empty: found by the
	// addresses, else by the default route.
	Uplink string
	// Routers are the pods' gateways, one of each family that pods have.
	Routers []netip.Addr
	// PodCIDRs are the ranges of the node's pods. What goes to an address
	// that no pod has is refused at once; without them the default route
	// might send it round and round.
	PodCIDRs []netip.Prefix
	// Ingress are the addresses that Envoy connects from for the outside.
	Ingress []netip.Addr
	// Former is a file that remembers the node's sysctls as they were before
	// Prepare, for Remove; it must not outlive the machine's restart. Empty:
	// nobody remembers.
	Former string
	// Namespace is the node's network namespace; nil: the process's.
	Namespace *os.File
	Log       *slog.Logger
}

// Node is the network of a node.
type Node struct {
	options  Options
	families []family
	uplink   Uplink
	handle   *netlink.Handle

	mu         sync.Mutex
	routesMade map[string]model.NodeRoute // by key
	making     map[string]bool            // the pods' host ends that CreatePod is about
}

// Open finds the node's devices, and whether the kernel can end connections, and
// changes nothing.
func Open(o Options) (*Node, error) {
	n := &Node{options: o, routesMade: map[string]model.NodeRoute{}, making: map[string]bool{}}
	for _, r := range o.Routers {
		if f := familyOf(r); !slices.Contains(n.families, f) {
			n.families = append(n.families, f)
		}
	}
	if len(n.families) != len(o.Routers) || len(o.Routers) == 0 {
		return nil, fmt.Errorf("pods' routers %v: want one of each family", o.Routers)
	}
	err := within(o.Namespace, canDestroy)
	if err != nil {
		return nil, err
	}
	if n.handle, err = openHandle(o.Namespace); err != nil {
		return nil, err
	}
	if n.uplink, err = findUplink(n.handle, o); err != nil {
		n.handle.Close()
		return nil, err
	}
	return n, nil
}

func openHandle(namespace *os.File) (handle *netlink.Handle, err error) {
	err = within(namespace, func() (err error) {
		handle, err = netlink.NewHandle(unix.NETLINK_ROUTE)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	return handle, nil
}

// Close ends the use of the Node; everything it made stays.
func (n *Node) Close() { n.handle.Close() }

func (n *Node) log() *slog.Logger {
	if n.options.Log == nil {
		return slog.Default()
	}
	return n.options.Log
}

// Uplink is the device towards the other nodes.
func (n *Node) Uplink() Uplink { return n.uplink }

// Prepare makes the node ready for pods and proxy: sysctls, router and ingress
// addresses, the way to the proxy. It may be repeated.
func (n *Node) Prepare() error {
	return errors.Join(n.applySettings(), n.setAddresses(slices.Concat(n.options.Routers, n.options.Ingress)),
		n.setRanges(n.options.PodCIDRs), n.setProxyRoutes())
}

func (n *Node) applySettings() error {
	return within(n.options.Namespace, func() error {
		settings := nodeSettings(n.uplink.Name, n.families)
		return errors.Join(rememberFormer(n.options.Former, settings), apply(settings))
	})
}

// Remove takes away every trace of a Node in a namespace, nil for the
// process's, and gives its sysctls the values that the file former remembers.
// Pods lose their network.
func Remove(namespace *os.File, former string) error {
	handle, err := openHandle(namespace)
	if err != nil {
		return err
	}
	defer handle.Close()
	n := &Node{handle: handle}
	errs := []error{n.setAddresses(nil), n.removeProxyRules()}
	devices, err := n.PodDevices()
	errs = append(errs, err)
	for _, name := range devices {
		errs = append(errs, n.DeletePodDevice(name))
	}
	for _, f := range []family{ipv4, ipv6} {
		for _, protocol := range []int{protocolNode, protocolPod} {
			errs = append(errs, n.removeRoutes(f, protocol))
		}
	}
	errs = append(errs, within(namespace, func() error { return restoreFormer(former) }))
	return errors.Join(errs...)
}

// setProxyRoutes makes packets with the proxy's mark local, whatever their
// destination.
func (n *Node) setProxyRoutes() error {
	lo, err := n.handle.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("look up lo: %w", err)
	}
	for _, f := range n.families {
		routes, err := n.routes(f, &netlink.Route{Table: proxyTable, Protocol: protocolNode}, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_PROTOCOL)
		if err != nil {
			return err
		}
		if len(routes) == 0 {
			if err := n.handle.RouteReplace(proxyRoute(f, lo)); err != nil {
				return fmt.Errorf("route table %d to lo: %w", proxyTable, err)
			}
		}
		have, err := n.proxyRules(f)
		if err != nil {
			return err
		}
		if len(have) > 0 {
			continue
		}
		if err := n.handle.RuleAdd(proxyRule(f)); err != nil {
			return fmt.Errorf("add ip rule fwmark %#x/%#x: %w", ProxyMark, ProxyMarkMask, err)
		}
	}
	return nil
}

func (n *Node) removeProxyRules() error {
	var errs []error
	for _, f := range []family{ipv4, ipv6} {
		rules, err := n.proxyRules(f)
		errs = append(errs, err)
		for _, r := range rules {
			errs = append(errs, n.handle.RuleDel(&r))
		}
	}
	return errors.Join(errs...)
}

func proxyRoute(f family, lo netlink.Link) *netlink.Route {
	all := prefix(netip.PrefixFrom(netip.IPv6Unspecified(), 0))
	if f == ipv4 {
		all = prefix(netip.PrefixFrom(netip.IPv4Unspecified(), 0))
	}
	return &netlink.Route{Family: int(f), Table: proxyTable, Dst: all, LinkIndex: lo.Attrs().Index,
		Type: unix.RTN_LOCAL, Scope: netlink.SCOPE_HOST, Protocol: protocolNode}
}

func proxyRule(f family) *netlink.Rule {
	mask := uint32(ProxyMarkMask)
	r := netlink.NewRule()
	r.Family, r.Table, r.Priority, r.Mark, r.Mask, r.Protocol = int(f), proxyTable, proxyPriority, ProxyMark, &mask, protocolNode
	return r
}

// proxyRules are our rules that stand.
func (n *Node) proxyRules(f family) ([]netlink.Rule, error) {
	rules, err := dump(func() ([]netlink.Rule, error) { return n.handle.RuleList(int(f)) })
	if err != nil {
		return nil, fmt.Errorf("list rules: %w", err)
	}
	return slices.DeleteFunc(rules, func(r netlink.Rule) bool {
		return r.Protocol != protocolNode || r.Table != proxyTable || r.Mark != ProxyMark
	}), nil
}

// dump repeats what the kernel interrupted, as it does when the list changes
// meanwhile. Of a family that the kernel lacks there is nothing.
func dump[T any](list func() ([]T, error)) ([]T, error) {
	for {
		all, err := list()
		if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EAFNOSUPPORT) {
			return nil, nil
		}
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			return all, err
		}
	}
}

func prefix(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func addrOf(ip net.IP) (netip.Addr, bool) {
	a, ok := netip.AddrFromSlice(ip)
	return a.Unmap(), ok
}

// single is the prefix of one address.
func single(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }
