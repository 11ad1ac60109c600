package nodes

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// namespaces is where `ip netns` finds them by name.
const namespaces = "/run/netns"

// namespace is a named network namespace.
type namespace struct {
	name   string
	handle netns.NsHandle
}

func newNamespace(name string) (*namespace, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	here, err := netns.Get()
	if err != nil {
		return nil, fmt.Errorf("open this network namespace: %w", err)
	}
	defer here.Close()
	handle, err := netns.NewNamed(name)
	if err != nil {
		return nil, fmt.Errorf("make network namespace %s: %w", name, err)
	}
	if err := netns.Set(here); err != nil {
		return nil, fmt.Errorf("go back to the own network namespace: %w", err)
	}
	ns := &namespace{name: name, handle: handle}
	return ns, ns.do(func() error { return setUp("lo") })
}

func (n *namespace) fd() int { return int(n.handle) }

// do calls f in the namespace, on a thread of its own; f starts no goroutines.
func (n *namespace) do(f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	here, err := netns.Get()
	if err != nil {
		return fmt.Errorf("open this network namespace: %w", err)
	}
	defer here.Close()
	if err := netns.Set(n.handle); err != nil {
		return fmt.Errorf("enter network namespace %s: %w", n.name, err)
	}
	defer func() {
		if err := netns.Set(here); err != nil {
			panic(err) // the thread would go on elsewhere
		}
	}()
	return f()
}

// sysctl sets variables of the current network namespace, "name value" each.
func sysctl(settings ...[2]string) error {
	for _, s := range settings {
		if err := os.WriteFile(filepath.Join("/proc/sys", s[0]), []byte(s[1]), 0); err != nil {
			return fmt.Errorf("set %s to %q: %w", s[0], s[1], err)
		}
	}
	return nil
}

// route adds a route in the current network namespace: to a device, or by way
// of a gateway.
func route(to netip.Prefix, device string, gateway netip.Addr) error {
	r := &netlink.Route{Dst: ipNet(to)}
	if gateway.IsValid() {
		r.Gw = gateway.AsSlice()
	} else {
		r.Scope = netlink.SCOPE_LINK
	}
	if device != "" {
		l, err := netlink.LinkByName(device)
		if err != nil {
			return err
		}
		r.LinkIndex = l.Attrs().Index
	}
	if err := netlink.RouteAdd(r); err != nil {
		return fmt.Errorf("add a route to %s: %w", to, err)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// host is the prefix of one address.
func host(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }
