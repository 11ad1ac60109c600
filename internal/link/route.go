package link

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/waggle-mesh/waggle/internal/model"
)

// Routes is the reconcile.Output of the ways to other nodes' pods, in the main
// table. The result is the device through which they go.
type Routes struct{ node *Node }

// Routes is the Output of routes to other nodes' pods.
func (n *Node) Routes() Routes { return Routes{n} }

// Update makes the route. A route to the same prefix that somebody else made
// is an error and stays.
func (o Routes) Update(_ context.Context, row model.NodeRoute) (device string, err error) {
	have, err := o.node.routesTo(row.Prefix)
	if err != nil {
		return "", err
	}
	for _, r := range have {
		if r.Protocol != protocolNode {
			return "", fmt.Errorf("route %s via %s: there is one already, made by %s", row.Prefix, row.Via, r.Protocol)
		}
	}
	want := &netlink.Route{Family: int(familyOf(row.Via)), Dst: prefix(row.Prefix), Gw: row.Via.AsSlice(), Protocol: protocolNode}
	err = o.node.handle.RouteReplace(want)
	if errors.Is(err, unix.ENETUNREACH) || errors.Is(err, unix.EHOSTUNREACH) {
		return "", fmt.Errorf("route %s via %s: the address is on no segment of this node: %w", row.Prefix, row.Via, err)
	}
	if err != nil {
		return "", fmt.Errorf("route %s via %s: %w", row.Prefix, row.Via, err)
	}
	o.node.mu.Lock()
	o.node.routesMade[row.Key()] = row
	o.node.mu.Unlock()
	return o.node.deviceTo(row.Prefix)
}

// Delete removes the route to the prefix.
func (o Routes) Delete(_ context.Context, key string) error {
	to, err := netip.ParsePrefix(key)
	if err != nil {
		return fmt.Errorf("remove route %s: %w", key, err)
	}
	o.node.mu.Lock()
	delete(o.node.routesMade, key)
	o.node.mu.Unlock()
	have, err := o.node.routesTo(to)
	if err != nil {
		return err
	}
	var errs []error
	for _, r := range have {
		if r.Protocol == protocolNode {
			errs = append(errs, o.node.removeRoute(r))
		}
	}
	return errors.Join(errs...)
}

// Prune removes routes of ours to all other prefixes.
func (o Routes) Prune(_ context.Context, keys []string) error {
	var errs []error
	for _, f := range []family{ipv4, ipv6} {
		have, err := o.node.routes(f, &netlink.Route{Table: unix.RT_TABLE_MAIN, Protocol: protocolNode},
			netlink.RT_FILTER_TABLE|netlink.RT_FILTER_PROTOCOL)
		errs = append(errs, err)
		for _, r := range have {
			if !slices.Contains(keys, prefixOf(r).String()) {
				errs = append(errs, o.node.removeRoute(r))
			}
		}
	}
	return errors.Join(errs...)
}

// setRanges makes just these ranges of pods unreachable where no pod's own
// route says otherwise.
func (n *Node) setRanges(want []netip.Prefix) error {
	return n.setRoutes(netlink.Route{Table: unix.RT_TABLE_MAIN, Type: unix.RTN_UNREACHABLE, Protocol: protocolPod}, want)
}

// setRoutes makes just these the destinations of the routes that have the
// table, the type and the protocol of like.
func (n *Node) setRoutes(like netlink.Route, want []netip.Prefix) error {
	var errs []error
	var there []netip.Prefix
	for _, f := range []family{ipv4, ipv6} {
		have, err := n.routes(f, &like, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TYPE)
		errs = append(errs, err)
		for _, r := range have {
			if to := prefixOf(r); slices.Contains(want, to) {
				there = append(there, to)
			} else {
				errs = append(errs, n.removeRoute(r))
			}
		}
	}
	for _, to := range want {
		if slices.Contains(there, to) {
			continue
		}
		r := like
		r.Family, r.Dst = int(familyOf(to.Addr())), prefix(to)
		if err := n.handle.RouteReplace(&r); err != nil {
			errs = append(errs, fmt.Errorf("add route %s of type %d to table %d: %w", to, like.Type, like.Table, err))
		}
	}
	return errors.Join(errs...)
}

func (n *Node) deviceTo(to netip.Prefix) (string, error) {
	have, err := n.routesTo(to)
	if err != nil || len(have) == 0 {
		return "", err
	}
	device, err := n.handle.LinkByIndex(have[0].LinkIndex)
	if err != nil {
		return "", fmt.Errorf("look up device %d: %w", have[0].LinkIndex, err)
	}
	return device.Attrs().Name, nil
}

// routesTo are the routes to exactly that prefix in the main table.
func (n *Node) routesTo(to netip.Prefix) ([]netlink.Route, error) {
	return n.routes(familyOf(to.Addr()), &netlink.Route{Table: unix.RT_TABLE_MAIN, Dst: prefix(to)},
		netlink.RT_FILTER_TABLE|netlink.RT_FILTER_DST)
}

func (n *Node) routes(f family, filter *netlink.Route, mask uint64) ([]netlink.Route, error) {
	routes, err := dump(func() ([]netlink.Route, error) { return n.handle.RouteListFiltered(int(f), filter, mask) })
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	return routes, nil
}

// removeRoutes takes away all routes of a protocol, in whatever table.
func (n *Node) removeRoutes(f family, protocol int) error {
	all, err := n.routes(f, &netlink.Route{Table: unix.RT_TABLE_UNSPEC, Protocol: netlink.RouteProtocol(protocol)},
		netlink.RT_FILTER_TABLE|netlink.RT_FILTER_PROTOCOL)
	errs := []error{err}
	for _, r := range all {
		errs = append(errs, n.removeRoute(r))
	}
	return errors.Join(errs...)
}

func (n *Node) removeRoute(r netlink.Route) error {
	if err := n.handle.RouteDel(&r); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("remove route %s: %w", prefixOf(r), err)
	}
	return nil
}

// prefixOf is where a route goes; netlink gives nil for everywhere.
func prefixOf(r netlink.Route) netip.Prefix {
	if r.Dst == nil {
		return netip.Prefix{}
	}
	address, _ := addrOf(r.Dst.IP)
	ones, _ := r.Dst.Mask.Size()
	return netip.PrefixFrom(address, ones)
}
