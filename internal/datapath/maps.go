package datapath

import (
	"math/bits"
	"net/netip"
	"unsafe"
)

// The generated types are the maps' keys and values; here is how they are
// made of Go's own.

// Flags, of their fields' sizes.
const (
	frontendClusterIP    = uint8(nodeFrontendFlagsFRONTEND_CLUSTER_IP)
	frontendNodePort     = uint8(nodeFrontendFlagsFRONTEND_NODE_PORT)
	frontendLoadBalancer = uint8(nodeFrontendFlagsFRONTEND_LOAD_BALANCER)
	frontendExternalIP   = uint8(nodeFrontendFlagsFRONTEND_EXTERNAL_IP)
	frontendKeepSource   = uint8(nodeFrontendFlagsFRONTEND_KEEP_SOURCE)
	frontendRedirect     = uint8(nodeFrontendFlagsFRONTEND_REDIRECT)
	frontendReject       = uint8(nodeFrontendFlagsFRONTEND_REJECT)

	backendNode = uint8(nodeBackendFlagsBACKEND_NODE)

	connReply    = uint32(nodeConnFlagsCONN_REPLY)
	connDNAT     = uint32(nodeConnFlagsCONN_DNAT)
	connSNAT     = uint32(nodeConnFlagsCONN_SNAT)
	connProxy    = uint32(nodeConnFlagsCONN_PROXY)
	connFIN      = uint32(nodeConnFlagsCONN_FIN)
	connAnswered = uint32(nodeConnFlagsCONN_ANSWERED)
	connFINBack  = uint32(nodeConnFlagsCONN_FIN_BACK)
	connReset    = uint32(nodeConnFlagsCONN_RESET)

	enforceAll = 2 // ENFORCE_ALL

	ipcacheCluster = uint32(nodeIpcacheFlagsIPCACHE_CLUSTER)
)

// addrFrom is the 16 bytes of an address, IPv4 as ::ffff:a.b.c.d; the zero
// address is all zero.
func addrFrom(a netip.Addr) nodeAddr {
	if !a.IsValid() {
		return nodeAddr{}
	}
	bytes := a.As16()
	return *(*nodeAddr)(unsafe.Pointer(&bytes))
}

// addr is the address, IPv4 if it is one.
func (a nodeAddr) addr() netip.Addr {
	return netip.AddrFrom16(*(*[16]byte)(unsafe.Pointer(&a))).Unmap()
}

func (a nodeAddr) String() string { return a.addr().String() }

// be16 turns a port into network byte order and back; the programs run on
// little-endian machines.
func be16(port uint16) uint16 { return bits.ReverseBytes16(port) }

// prefixFrom is the ipcache's key; IPv4 prefixes lie within ::ffff:0:0/96.
func prefixFrom(p netip.Prefix) nodeIpcacheKey {
	length := p.Bits()
	if p.Addr().Is4() {
		length += 96
	}
	return nodeIpcacheKey{Prefix: uint32(length), Addr: addrFrom(p.Masked().Addr())}
}

// prefix is the reverse of prefixFrom.
func (k nodeIpcacheKey) prefix() netip.Prefix {
	addr := k.Addr.addr()
	if addr.Is4() && k.Prefix >= 96 {
		return netip.PrefixFrom(addr, int(k.Prefix)-96)
	}
	return netip.PrefixFrom(netip.AddrFrom16(addr.As16()), int(k.Prefix))
}
