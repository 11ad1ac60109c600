package view

import (
	"fmt"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// links are the devices; it fills in their names.
func links(names map[int]string, add func(string)) error {
	all, err := netlink.LinkList()
	for _, l := range all {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	for _, l := range all {
		add(linkLine(l, names))
	}
	return err
}

func linkLine(l netlink.Link, names map[int]string) string {
	a := l.Attrs()
	var b strings.Builder
	fmt.Fprintf(&b, "%d: %s", a.Index, a.Name)
	if a.ParentIndex != 0 && a.NetNsID >= 0 { // its peer is in another namespace
		fmt.Fprintf(&b, "@if%d", a.ParentIndex)
	} else if a.ParentIndex != 0 {
		fmt.Fprintf(&b, "@%s", deviceOf(a.ParentIndex, names))
	}
	fmt.Fprintf(&b, " %s mtu %d state %s", l.Type(), a.MTU, a.OperState)
	if len(a.HardwareAddr) > 0 {
		fmt.Fprintf(&b, " lladdr %s", a.HardwareAddr)
	}
	if a.MasterIndex != 0 {
		fmt.Fprintf(&b, " master %s", deviceOf(a.MasterIndex, names))
	}
	if a.Group != 0 {
		fmt.Fprintf(&b, " group %d", a.Group)
	}
	if a.Xdp != nil && a.Xdp.Attached {
		fmt.Fprintf(&b, " xdp %d", a.Xdp.ProgId)
	}
	return b.String()
}

func addresses(names map[int]string, add func(string)) error {
	all, err := netlink.AddrList(nil, unix.AF_UNSPEC)
	for _, a := range all {
		line := fmt.Sprintf("%s %s scope %s", deviceOf(a.LinkIndex, names), a.IPNet, scopeName(netlink.Scope(a.Scope)))
		if a.Label != "" && a.Label != names[a.LinkIndex] {
			line += " label " + a.Label
		}
		for _, f := range []struct {
			flag int
			word string
		}{{unix.IFA_F_DEPRECATED, "deprecated"}, {unix.IFA_F_TENTATIVE, "tentative"}, {unix.IFA_F_DADFAILED, "dadfailed"}} {
			if a.Flags&f.flag != 0 {
				line += " " + f.word
			}
		}
		add(line)
	}
	return err
}

// neighbourStates are the kernel's, see NUD_* of rtnetlink(7).
var neighbourStates = map[int]string{
	netlink.NUD_INCOMPLETE: "incomplete", netlink.NUD_REACHABLE: "reachable", netlink.NUD_STALE: "stale", netlink.NUD_DELAY: "delay",
	netlink.NUD_PROBE: "probe", netlink.NUD_FAILED: "failed", netlink.NUD_NOARP: "noarp", netlink.NUD_PERMANENT: "permanent",
}

func neighbours(names map[int]string, add func(string)) error {
	all, err := netlink.NeighList(0, unix.AF_UNSPEC)
	for _, n := range all {
		if n.State == netlink.NUD_NOARP { // multicast and the like, which ip does not show either
			continue
		}
		line := fmt.Sprintf("%s dev %s", n.IP, deviceOf(n.LinkIndex, names))
		if len(n.HardwareAddr) > 0 {
			line += " lladdr " + n.HardwareAddr.String()
		}
		add(line + " " + neighbourStates[n.State])
	}
	return err
}
