package datapath_test

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
)

// Packets by hand, for what no socket sends.

const (
	protoICMP, protoTCP, protoUDP, protoICMPv6 = 1, 6, 17, 58

	syn, ack, rst, fin = 2, 16, 4, 1
)

// ip is an IP packet in the making.
type ip struct {
	src, dst netip.Addr
	proto    byte
	ttl      byte   // 0: 64
	options  []byte // IPv4's, of 4 bytes each
	headers  []byte // IPv6's extension headers, see chain; the last names proto
	first    byte   // the first of headers
	offset   uint16 // of a fragment, in units of 8 bytes
	more     bool
	id       uint16
	payload  []byte
}

// frame is the packet with an Ethernet header.
func (p ip) frame() []byte {
	mac := []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2}
	if p.src.Is4() {
		return slices.Concat(mac, []byte{0x08, 0x00}, p.v4())
	}
	return slices.Concat(mac, []byte{0x86, 0xdd}, p.v6())
}

func (p ip) bytes() []byte { return p.frame()[14:] }

func (p ip) hops() byte {
	if p.ttl == 0 {
		return 64
	}
	return p.ttl
}

func (p ip) v4() []byte {
	h := make([]byte, 20, 60)
	h[0] = 0x40 | byte(5+len(p.options)/4)
	binary.BigEndian.PutUint16(h[2:], uint16(20+len(p.options)+len(p.payload)))
	binary.BigEndian.PutUint16(h[4:], p.id)
	fragment := p.offset
	if p.more {
		fragment |= 0x2000
	}
	binary.BigEndian.PutUint16(h[6:], fragment)
	h[8], h[9] = p.hops(), p.proto
	copy(h[12:], p.src.AsSlice())
	copy(h[16:], p.dst.AsSlice())
	h = append(h, p.options...)
	binary.BigEndian.PutUint16(h[10:], ^sum(h))
	return append(h, p.payload...)
}

func (p ip) v6() []byte {
	headers, next := p.headers, p.proto
	if len(headers) > 0 {
		next = p.first
	}
	if p.offset != 0 || p.more {
		fragment := make([]byte, 8)
		fragment[0] = p.proto
		binary.BigEndian.PutUint16(fragment[2:], p.offset<<3)
		if p.more {
			fragment[3] |= 1
		}
		binary.BigEndian.PutUint16(fragment[6:], p.id)
		headers, next = fragment, 44
	}
	h := make([]byte, 40)
	h[0] = 0x60
	binary.BigEndian.PutUint16(h[4:], uint16(len(headers)+len(p.payload)))
	h[6], h[7] = next, p.hops()
	copy(h[8:], p.src.AsSlice())
	copy(h[24:], p.dst.AsSlice())
	return slices.Concat(h, headers, p.payload)
}

// chain is extension headers of 8 bytes, by their numbers.
func chain(proto byte, headers ...byte) []byte {
	var b []byte
	for i := range headers {
		next := proto
		if i+1 < len(headers) {
			next = headers[i+1]
		}
		b = append(b, next, 0, 1, 4, 0, 0, 0, 0) // PadN
	}
	return b
}

// sum is the Internet checksum before it is inverted.
func sum(b []byte) uint16 {
	var n uint32
	for i := 0; i < len(b); i += 2 {
		if i+1 < len(b) {
			n += uint32(b[i])<<8 | uint32(b[i+1])
		} else {
			n += uint32(b[i]) << 8
		}
	}
	for n > 0xffff {
		n = n&0xffff + n>>16
	}
	return uint16(n)
}

// pseudo is the header that L4 checksums cover.
func pseudo(src, dst netip.Addr, proto byte, length int) []byte {
	if proto == protoICMP {
		return nil
	}
	b := slices.Concat(src.AsSlice(), dst.AsSlice())
	b = binary.BigEndian.AppendUint32(b, uint32(length))
	return binary.BigEndian.AppendUint32(b, uint32(proto))
}

// sealed puts the checksum of L4 bytes at an offset of them.
func sealed(src, dst netip.Addr, proto byte, at int, b []byte) []byte {
	check := ^sum(append(pseudo(src, dst, proto, len(b)), b...))
	binary.BigEndian.PutUint16(b[at:], check)
	return b
}

func tcp(src, dst netip.AddrPort, flags byte) ip {
	b := make([]byte, 20)
	binary.BigEndian.PutUint16(b, src.Port())
	binary.BigEndian.PutUint16(b[2:], dst.Port())
	binary.BigEndian.PutUint32(b[4:], 1000)
	b[12], b[13] = 5<<4, flags
	return ip{src: src.Addr(), dst: dst.Addr(), proto: protoTCP, payload: sealed(src.Addr(), dst.Addr(), protoTCP, 16, b)}
}

func udp(src, dst netip.AddrPort, data []byte) ip {
	b := make([]byte, 8, 8+len(data))
	binary.BigEndian.PutUint16(b, src.Port())
	binary.BigEndian.PutUint16(b[2:], dst.Port())
	binary.BigEndian.PutUint16(b[4:], uint16(8+len(data)))
	b = append(b, data...)
	return ip{src: src.Addr(), dst: dst.Addr(), proto: protoUDP, payload: sealed(src.Addr(), dst.Addr(), protoUDP, 6, b)}
}

// unreachable is the error that says a packet found no port.
func unreachable(from netip.Addr, about ip) ip {
	proto, kind, code := byte(protoICMP), byte(3), byte(3)
	if from.Is6() {
		proto, kind, code = protoICMPv6, 1, 4
	}
	quote := about.bytes()
	b := append([]byte{kind, code, 0, 0, 0, 0, 0, 0}, quote[:min(len(quote), 64)]...)
	return ip{src: from, dst: about.src, proto: proto, payload: sealed(from, about.src, proto, 2, b)}
}

// seen is a packet that came out of a program.
type seen struct {
	src, dst netip.AddrPort // ICMP: port 0
	proto    byte
	ttl      byte
	flags    byte // TCP
	kind     byte // ICMP: type and code
	code     byte
	quoted   []byte
	mac      []byte // destination and source
}

// look takes a frame apart, and fails if a checksum is wrong.
func look(t *testing.T, frame []byte) seen {
	t.Helper()
	s := seen{mac: frame[:12]}
	p := frame[14:]
	var src, dst netip.Addr
	var l4 []byte
	if p[0]>>4 == 4 {
		header := p[:p[0]&15*4]
		if sum(header) != 0xffff {
			t.Errorf("wrong IPv4 checksum in % x", p)
		}
		src, dst = netip.AddrFrom4([4]byte(p[12:])), netip.AddrFrom4([4]byte(p[16:]))
		s.proto, s.ttl = p[9], p[8]
		l4 = p[len(header):binary.BigEndian.Uint16(p[2:])]
		if binary.BigEndian.Uint16(p[6:])&0x3fff != 0 { // a fragment: its sum is not known
			return s.addressed(src, dst, l4, false)
		}
	} else {
		src, dst = netip.AddrFrom16([16]byte(p[8:])), netip.AddrFrom16([16]byte(p[24:]))
		s.proto, s.ttl = p[6], p[7]
		l4 = p[40 : 40+binary.BigEndian.Uint16(p[4:])]
		for s.proto == 0 || s.proto == 60 || s.proto == 43 {
			s.proto, l4 = l4[0], l4[8+int(l4[1])*8:]
		}
		if s.proto == 44 {
			s.proto = l4[0]
			return s.addressed(src, dst, l4[8:], l4[2] == 0 && l4[3]&^7 == 0)
		}
	}
	if sum(append(pseudo(src, dst, s.proto, len(l4)), l4...)) != 0xffff {
		t.Errorf("wrong L4 checksum in % x", p)
	}
	return s.addressed(src, dst, l4, true)
}

func (s seen) addressed(src, dst netip.Addr, l4 []byte, ports bool) seen {
	s.src, s.dst = netip.AddrPortFrom(src, 0), netip.AddrPortFrom(dst, 0)
	switch {
	case s.proto == protoICMP || s.proto == protoICMPv6:
		s.kind, s.code, s.quoted = l4[0], l4[1], bytes.Clone(l4[8:])
	case ports:
		s.src = netip.AddrPortFrom(src, binary.BigEndian.Uint16(l4))
		s.dst = netip.AddrPortFrom(dst, binary.BigEndian.Uint16(l4[2:]))
		if s.proto == protoTCP {
			s.flags = l4[13]
		}
	}
	return s
}

// lookQuoted takes the packet apart that an error quotes; its L4 checksum is
// not looked at.
func lookQuoted(t *testing.T, quoted []byte) seen {
	t.Helper()
	if quoted[0]>>4 == 4 {
		header := quoted[:quoted[0]&15*4]
		if sum(header) != 0xffff {
			t.Errorf("wrong checksum in quoted % x", quoted)
		}
		return seen{proto: quoted[9]}.addressed(netip.AddrFrom4([4]byte(quoted[12:])), netip.AddrFrom4([4]byte(quoted[16:])),
			append(bytes.Clone(quoted[len(header):]), make([]byte, 20)...), true)
	}
	return seen{proto: quoted[6]}.addressed(netip.AddrFrom16([16]byte(quoted[8:])), netip.AddrFrom16([16]byte(quoted[24:])),
		append(bytes.Clone(quoted[40:]), make([]byte, 20)...), true)
}
