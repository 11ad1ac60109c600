package daemon

import (
	"net/netip"
	"slices"

	"github.com/waggle-mesh/waggle/internal/datapath/redirect"
	"github.com/waggle-mesh/waggle/internal/link"
	"github.com/waggle-mesh/waggle/internal/model"
)

// standing tells, by their ends in the node's stack, the connections that stand
// on verdicts and redirects that are no more.
type standing struct {
	verdicts  map[netip.Addr][]model.Verdict // by the addresses of their endpoints
	redirects map[netip.AddrPort]bool        // addresses of frontends

	identities map[netip.Prefix]model.Identity
	former     map[netip.Prefix][]model.Identity // that prefixes had when a verdict was taken back
}

// has tells whether a connection is one of them.
func (s *standing) has(c link.Connection) bool {
	for _, v := range s.verdicts[c.Remote.Addr()] {
		if s.about(v, c.Remote, c.Local, true) {
			return true
		}
	}
	for _, v := range s.verdicts[c.Local.Addr()] {
		if s.about(v, c.Local, c.Remote, false) {
			return true
		}
	}
	return s.redirected(c)
}

// about tells whether a verdict was about a connection between its endpoint and
// another. Where the endpoint is the client of a connection that Envoy took in
// somebody's place, that may be a Service, whose address is nobody's: the verdict
// was about its backend.
func (s *standing) about(v model.Verdict, endpoint, other netip.AddrPort, client bool) bool {
	port := endpoint.Port()
	if v.Direction == model.Egress {
		port = other.Port()
	}
	if v.Port != 0 && v.Port != port {
		return false
	}
	if v.Identity == 0 {
		return true
	}
	identity, former := s.identityOf(other.Addr())
	return identity == v.Identity || slices.Contains(former, v.Identity) || v.Direction == model.Egress && client && identity == 0
}

// redirected tells whether Envoy took a connection in the place of a frontend;
// other processes of the node may have the frontend's port by now.
func (s *standing) redirected(c link.Connection) bool {
	if c.Mark != redirect.MarkListener {
		return false
	}
	everywhere := netip.IPv6Unspecified()
	if c.Local.Addr().Is4() {
		everywhere = netip.IPv4Unspecified()
	}
	return s.redirects[c.Local] || s.redirects[netip.AddrPortFrom(everywhere, c.Local.Port())]
}

// identityOf is the identity of the longest prefix that has an address, 0: none;
// and those that it or longer ones had.
func (s *standing) identityOf(a netip.Addr) (now model.Identity, former []model.Identity) {
	for bits := a.BitLen(); bits > 0; bits-- {
		prefix, err := a.Prefix(bits)
		if err != nil {
			continue
		}
		former = append(former, s.former[prefix]...)
		if i, ok := s.identities[prefix]; ok {
			return i, former
		}
	}
	return 0, former
}
