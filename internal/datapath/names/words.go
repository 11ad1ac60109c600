package names

import (
	"fmt"
	"net/netip"
	"strings"
)

// Flags are the set bits of flags in words.
func Flags[F ~uint32](flags F, names []string) string {
	var set []string
	for i, name := range names {
		if flags&(1<<i) != 0 {
			set = append(set, name)
		}
	}
	return strings.Join(set, ",")
}

// Protocol is an IP protocol's name, as the kernel's headers have it.
func Protocol(proto uint8) string {
	switch proto {
	case 1:
		return "ICMP"
	case 6:
		return "TCP"
	case 17:
		return "UDP"
	case 58:
		return "ICMPv6"
	case 132:
		return "SCTP"
	}
	return fmt.Sprint(proto)
}

// reasons are enum drop of bpf/maps.h, in Cilium's words where it has them.
var reasons = map[uint8]string{
	0: "Forwarded", 132: "Invalid source ip", 133: "Policy denied", 134: "Invalid packet", 135: "CT: Truncated or invalid header",
	142: "Unknown L4 protocol", 150: "Unknown L3 target address", 155: "CT: Map insertion failed", 156: "Invalid IPv6 extension header",
	157: "IP fragmentation not supported", 158: "Service backend not found", 167: "No mapping for NAT masquerade",
	168: "Unsupported protocol for NAT masquerade", 175: "First logical datagram fragment not found",
	176: "Forbidden ICMPv6 message", 178: "Socket lookup failed", 180: "Proxy redirection not supported for protocol", 181: "Policy denied by denylist", 196: "TTL exceeded",
	231: "Source port reserved for the proxy", 232: "Proxy traffic that was not judged",
	233: "Proxy traffic from a port that is not reserved", 234: "Closed for another connection",
}

// Reason is the name of a reason for dropping packets.
func Reason(number uint8) string {
	if name, ok := reasons[number]; ok {
		return name
	}
	return fmt.Sprint(number)
}

// Family is "4" or "6".
func Family(a netip.Addr) string {
	if a.Is4() {
		return "4"
	}
	return "6"
}

// MAC is a hardware address as Cilium writes it.
func MAC(m [6]uint8) string {
	return fmt.Sprintf("%02X:%02X:%02X:%02X:%02X:%02X", m[0], m[1], m[2], m[3], m[4], m[5])
}
