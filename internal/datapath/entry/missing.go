package entry

// Missing are rows of endpoints that a map has no room for, by the direction
// that they are about: 0 or 1.
type Missing struct {
	rows map[string]place
	at   map[uint32][2]int // how many, by endpoint and direction

	inherited map[uint32]uint8
}

type place struct {
	endpoint  uint32
	direction uint8
}

// NewMissing is none.
func NewMissing() *Missing {
	return &Missing{rows: map[string]place{}, at: map[uint32][2]int{}, inherited: map[uint32]uint8{}}
}

// Inherit says in which directions an endpoint lacked rows when an earlier agent
// ended, as Bits; 0: none.
func (m *Missing) Inherit(endpoint uint32, bits uint8) {
	if bits != 0 {
		m.inherited[endpoint] = bits
	}
}

// Disinherit says that all rows were tried again. It returns the endpoints for
// which that may be news.
func (m *Missing) Disinherit() (endpoints []uint32) {
	for endpoint := range m.inherited {
		endpoints = append(endpoints, endpoint)
	}
	clear(m.inherited)
	return endpoints
}

// Add takes note that a row is missing; it tells whether that is news.
func (m *Missing) Add(row string, endpoint uint32, direction uint8) (news bool) {
	if _, was := m.rows[row]; was {
		return false
	}
	m.rows[row] = place{endpoint, direction & 1}
	m.count(m.rows[row], 1)
	return true
}

// Remove takes note that a row is not missing; it tells whether it was, and of
// which endpoint.
func (m *Missing) Remove(row string) (endpoint uint32, was bool) {
	p, was := m.rows[row]
	if was {
		delete(m.rows, row)
		m.count(p, -1)
	}
	return p.endpoint, was
}

func (m *Missing) count(p place, more int) {
	n := m.at[p.endpoint]
	n[p.direction] += more
	m.at[p.endpoint] = n
	if n == [2]int{} {
		delete(m.at, p.endpoint)
	}
}

// Bits are the directions in which an endpoint lacks rows: bit 0, bit 1.
func (m *Missing) Bits(endpoint uint32) uint8 {
	bits := m.inherited[endpoint]
	for direction, n := range m.at[endpoint] {
		if n > 0 {
			bits |= 1 << direction
		}
	}
	return bits
}
