package view

import (
	"cmp"
	"fmt"
	"net"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func rules(family int, add func(string)) error {
	all, err := netlink.RuleList(family)
	for _, r := range all {
		add(ruleLine(r))
	}
	return err
}

func ruleLine(r netlink.Rule) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %d:", familyName(r.Family), r.Priority)
	if r.Invert {
		b.WriteString(" not")
	}
	fmt.Fprintf(&b, " from %s", ends(r.Src))
	if r.Dst != nil {
		fmt.Fprintf(&b, " to %s", r.Dst)
	}
	if r.Tos != 0 {
		fmt.Fprintf(&b, " tos %#x", r.Tos)
	}
	if r.Mark != 0 || r.Mask != nil && *r.Mask != 0 {
		fmt.Fprintf(&b, " fwmark %#x", r.Mark)
		if r.Mask != nil && *r.Mask != 0xffffffff {
			fmt.Fprintf(&b, "/%#x", *r.Mask)
		}
	}
	for _, word := range []struct{ name, value string }{{"iif", r.IifName}, {"oif", r.OifName}} {
		if word.value != "" {
			fmt.Fprintf(&b, " %s %s", word.name, word.value)
		}
	}
	if r.UIDRange != nil {
		fmt.Fprintf(&b, " uidrange %d-%d", r.UIDRange.Start, r.UIDRange.End)
	}
	if r.IPProto != 0 {
		fmt.Fprintf(&b, " ipproto %d", r.IPProto)
	}
	for _, ports := range []struct {
		name  string
		value *netlink.RulePortRange
	}{{"sport", r.Sport}, {"dport", r.Dport}} {
		if ports.value != nil {
			fmt.Fprintf(&b, " %s %d-%d", ports.name, ports.value.Start, ports.value.End)
		}
	}
	switch {
	case r.Goto >= 0:
		fmt.Fprintf(&b, " goto %d", r.Goto)
	case r.Table != 0:
		fmt.Fprintf(&b, " lookup %s", tableName(r.Table))
	default:
		b.WriteString(" no lookup")
	}
	if r.SuppressPrefixlen >= 0 {
		fmt.Fprintf(&b, " suppress_prefixlength %d", r.SuppressPrefixlen)
	}
	return b.String() + protocol(int(r.Protocol))
}

func routes(family int, names map[int]string, add func(string)) error {
	ofAllTables := &netlink.Route{Table: unix.RT_TABLE_UNSPEC}
	return netlink.RouteListFilteredIter(family, ofAllTables, netlink.RT_FILTER_TABLE, func(r netlink.Route) bool {
		add(routeLine(r, names))
		return true
	})
}

// routeTypes are the words for those that do not lead on.
var routeTypes = map[int]string{
	unix.RTN_LOCAL: "local ", unix.RTN_BROADCAST: "broadcast ", unix.RTN_ANYCAST: "anycast ", unix.RTN_MULTICAST: "multicast ",
	unix.RTN_BLACKHOLE: "blackhole ", unix.RTN_UNREACHABLE: "unreachable ", unix.RTN_PROHIBIT: "prohibit ", unix.RTN_THROW: "throw ",
}

func routeLine(r netlink.Route, names map[int]string) string {
	var b strings.Builder
	to := "default"
	if r.Dst != nil {
		if ones, _ := r.Dst.Mask.Size(); ones > 0 {
			to = r.Dst.String()
		}
	}
	fmt.Fprintf(&b, "%s %s%s", familyName(r.Family), routeTypes[r.Type], to)
	hop := func(gateway net.IP, via netlink.Destination, index int) {
		if len(gateway) > 0 {
			fmt.Fprintf(&b, " via %s", gateway)
		} else if v, ok := via.(*netlink.Via); ok { // of the other family
			fmt.Fprintf(&b, " via inet6 %s", v.Addr)
		}
		if index != 0 {
			fmt.Fprintf(&b, " dev %s", deviceOf(index, names))
		}
	}
	hop(r.Gw, r.Via, r.LinkIndex)
	for _, h := range r.MultiPath {
		b.WriteString(" nexthop")
		hop(h.Gw, h.Via, h.LinkIndex)
		fmt.Fprintf(&b, " weight %d", h.Hops+1)
	}
	fmt.Fprintf(&b, " table %s", tableName(r.Table))
	b.WriteString(protocol(int(r.Protocol)))
	if r.Family == unix.AF_INET {
		fmt.Fprintf(&b, " scope %s", scopeName(r.Scope))
	}
	if len(r.Src) > 0 {
		fmt.Fprintf(&b, " src %s", r.Src)
	}
	if r.Priority != 0 {
		fmt.Fprintf(&b, " metric %d", r.Priority)
	}
	if r.MTU != 0 {
		fmt.Fprintf(&b, " mtu %s%d", map[bool]string{true: "lock "}[r.MTULock], r.MTU)
	}
	return b.String()
}

// ends is where packets of a rule come from.
func ends(from *net.IPNet) string {
	if from == nil {
		return "all"
	}
	return from.String()
}

func familyName(family int) string {
	return cmp.Or(map[int]string{unix.AF_INET: "ipv4", unix.AF_INET6: "ipv6"}[family], fmt.Sprint(family))
}

func tableName(table int) string {
	return cmp.Or(map[int]string{unix.RT_TABLE_LOCAL: "local", unix.RT_TABLE_MAIN: "main", unix.RT_TABLE_DEFAULT: "default"}[table], fmt.Sprint(table))
}

// scopeName is ip's word.
func scopeName(s netlink.Scope) string {
	if s == netlink.SCOPE_UNIVERSE {
		return "global"
	}
	return s.String()
}

// protocol is who made it, if that is told.
func protocol(number int) string {
	if number == unix.RTPROT_UNSPEC {
		return ""
	}
	return fmt.Sprintf(" proto %s", netlink.RouteProtocol(number))
}
