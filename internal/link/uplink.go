package link

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Uplink is the device towards the other nodes.
type Uplink struct {
	Name       string
	Index, MTU int
}

// findUplink takes the device that is named, else the one that has an address
// of the node, else the one of the best default route.
func findUplink(h *netlink.Handle, o Options) (Uplink, error) {
	if o.Uplink != "" {
		device, err := h.LinkByName(o.Uplink)
		if err != nil {
			return Uplink{}, fmt.Errorf("look up uplink %s: %w", o.Uplink, err)
		}
		return uplinkOf(device), nil
	}
	if index, err := deviceWithAddress(h, o.Addresses); err != nil || index != 0 {
		return uplinkByIndex(h, index, err)
	}
	for _, f := range []family{ipv4, ipv6} {
		if index, err := defaultDevice(h, f); err != nil || index != 0 {
			return uplinkByIndex(h, index, err)
		}
	}
	return Uplink{}, fmt.Errorf("find the uplink: no device has an address of the node (%s), and there is no default route",
		join(o.Addresses))
}

func uplinkByIndex(h *netlink.Handle, index int, err error) (Uplink, error) {
	if err != nil {
		return Uplink{}, fmt.Errorf("find the uplink: %w", err)
	}
	device, err := h.LinkByIndex(index)
	if err != nil {
		return Uplink{}, fmt.Errorf("look up uplink %d: %w", index, err)
	}
	return uplinkOf(device), nil
}

func uplinkOf(device netlink.Link) Uplink {
	a := device.Attrs()
	return Uplink{Name: a.Name, Index: a.Index, MTU: a.MTU}
}

func deviceWithAddress(h *netlink.Handle, wanted []netip.Addr) (index int, err error) {
	have, err := dump(func() ([]netlink.Addr, error) { return h.AddrList(nil, unix.AF_UNSPEC) })
	if err != nil {
		return 0, fmt.Errorf("list addresses: %w", err)
	}
	for _, w := range wanted {
		for _, a := range have {
			if a.IP.Equal(w.AsSlice()) {
				return a.LinkIndex, nil
			}
		}
	}
	return 0, nil
}

func defaultDevice(h *netlink.Handle, f family) (index int, err error) {
	routes, err := dump(func() ([]netlink.Route, error) {
		return h.RouteListFiltered(int(f), &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
	})
	if err != nil {
		return 0, fmt.Errorf("list routes: %w", err)
	}
	routes = slices.DeleteFunc(routes, func(r netlink.Route) bool { return !isDefault(r) })
	if len(routes) == 0 {
		return 0, nil
	}
	best := slices.MinFunc(routes, func(a, b netlink.Route) int { return a.Priority - b.Priority })
	if len(best.MultiPath) > 0 {
		return best.MultiPath[0].LinkIndex, nil
	}
	return best.LinkIndex, nil
}

func isDefault(r netlink.Route) bool {
	if r.Type != unix.RTN_UNICAST {
		return false
	}
	if r.Dst == nil {
		return true
	}
	ones, _ := r.Dst.Mask.Size()
	return ones == 0
}

func join(addresses []netip.Addr) string {
	texts := make([]string, len(addresses))
	for i, a := range addresses {
		texts[i] = a.String()
	}
	return strings.Join(texts, ", ")
}
