package link

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// settle is how long Keep lets changes come in before it looks: the time in
// which something that was undone stays so.
const settle = time.Second

// lookEvery is how often Keep looks unasked: of most sysctls the kernel tells
// nobody.
var lookEvery = 15 * time.Second

// Keep makes good, until ctx ends, what others undo of Prepare, of Routes and
// of the pods' host ends: udev and sysctl set every new device's rp_filter,
// network daemons remove rules and routes that are not their own. It looks
// when the kernel tells of a change, at the start and every 15 s.
func (n *Node) Keep(ctx context.Context) error {
	var events *nl.NetlinkSocket
	err := within(n.options.Namespace, func() (err error) {
		events, err = nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_IPV4_NETCONF, unix.RTNLGRP_IPV6_NETCONF,
			unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_RULE, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE,
			unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR)
		return err
	})
	if err != nil {
		return fmt.Errorf("listen to changes of the network: %w", err)
	}
	changed, ended := make(chan struct{}, 1), make(chan error, 1)
	defer events.Close()
	go func() {
		for {
			_, _, err := events.Receive()
			if err != nil && !errors.Is(err, unix.ENOBUFS) { // which is a change too many
				ended <- err
				return
			}
			select {
			case changed <- struct{}{}:
			default:
			}
		}
	}()
	for {
		if err := n.restore(ctx); err != nil && ctx.Err() == nil {
			n.log().Warn("restore the node's network", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(settle):
		}
		select {
		case <-ctx.Done():
			return nil
		case err := <-ended:
			return fmt.Errorf("listen to changes of the network: %w", err)
		case <-changed:
		case <-time.After(lookEvery):
		}
	}
}

// restore writes only what is not as it should be, or it would be told of its
// own changes for ever.
func (n *Node) restore(ctx context.Context) error {
	devices, err := n.PodDevices()
	errs := []error{err}
	errs = append(errs, within(n.options.Namespace, func() error {
		errs := []error{n.restoreSettings(nodeSettings(n.uplink.Name, n.families))}
		for index, name := range devices {
			if !n.isMaking(name) {
				errs = append(errs, n.restoreHostSettings(index, name))
			}
		}
		return errors.Join(errs...)
	}))
	errs = append(errs, n.Prepare())
	for index, name := range devices {
		errs = append(errs, n.restoreHostRoutes(index, name))
	}
	return errors.Join(append(errs, n.restoreNodeRoutes(ctx))...)
}

func (n *Node) restoreSettings(settings []sysctl) error {
	if wrong := check(settings); wrong != nil {
		n.log().Warn("somebody changed settings of the network", "settings", wrong)
	}
	return apply(settings)
}

// restoreHostSettings is about a pod's host end, which may go meanwhile.
func (n *Node) restoreHostSettings(index int, name string) error {
	settings := hostEndSettings(name, n.families)
	if check(settings) == nil {
		return nil
	}
	if !n.isThere(index, name) {
		return nil
	}
	return n.restoreSettings(settings)
}

// isThere tells whether a device is still the one that it was; if that cannot be
// told, Keep looks again.
func (n *Node) isThere(index int, name string) bool {
	now, err := n.handle.LinkByIndex(index)
	return err == nil && now.Attrs().Name == name
}

// restoreHostRoutes makes the routes to a pod, whose host end may go meanwhile.
// Its addresses are those of its permanent neighbours.
func (n *Node) restoreHostRoutes(index int, name string) error {
	neighbours, err := dump(func() ([]netlink.Neigh, error) { return n.handle.NeighList(index, unix.AF_UNSPEC) })
	if err != nil {
		return fmt.Errorf("list neighbours of %s: %w", name, err)
	}
	var errs []error
	for _, nb := range neighbours {
		a, ok := addrOf(nb.IP)
		if !ok || nb.State&netlink.NUD_PERMANENT == 0 {
			continue
		}
		have, err := n.routesTo(single(a))
		errs = append(errs, err)
		if err == nil && len(have) == 0 {
			errs = append(errs, n.handle.RouteReplace(hostRoute(index, a)))
		}
	}
	if err := errors.Join(errs...); err != nil && n.isThere(index, name) {
		return fmt.Errorf("restore the routes by %s: %w", name, err)
	}
	return nil
}

func (n *Node) restoreNodeRoutes(ctx context.Context) error {
	n.mu.Lock()
	rows := maps.Clone(n.routesMade)
	n.mu.Unlock()
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(rows)) {
		have, err := n.routesTo(rows[key].Prefix)
		errs = append(errs, err)
		if err == nil && len(have) == 0 {
			_, err := n.Routes().Update(ctx, rows[key])
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
