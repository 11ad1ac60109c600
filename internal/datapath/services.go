package datapath

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/waggle-mesh/waggle/internal/datapath/entry"
	"github.com/waggle-mesh/waggle/internal/datapath/names"
	"github.com/waggle-mesh/waggle/internal/model"
)

// services is what the outputs of frontends and of backend sets share: the
// maps' content, and which frontends refer to which set. A set is written
// before the first frontend that refers to it and goes after the last.
type services struct {
	mu        sync.Mutex
	node      *Node
	names     *names.Table
	sets      map[uint32][]nodeBackend          // by number; slots
	leaving   map[uint32]map[uint32]nodeBackend // that were in the set and go on with what they began; by slot
	setKeys   map[uint32]string                 // those that have a row
	entries   map[nodeFrontendKey]nodeFrontend
	byRow     map[string][]nodeFrontendKey // entries of a row
	refs      map[uint32]int
	rows      map[string]model.Frontend // that were written
	listeners map[string]uint16         // logical numbers of the live ones
	led       map[string]uint16         // the number that the map has for a row with a redirect, where that is known
	vips      *entry.Counts[nodeAddr]   // entries at an address that is a Service's alone
	gone      map[nodeBackend]time.Time // UDP backends whose sockets are yet to be disconnected
	looked    bool                      // at all sockets, since the start
}

func readServices(n *Node, named *names.Table) (*services, error) {
	s := &services{
		node: n, names: named, sets: map[uint32][]nodeBackend{}, leaving: map[uint32]map[uint32]nodeBackend{}, setKeys: map[uint32]string{},
		entries: map[nodeFrontendKey]nodeFrontend{}, byRow: map[string][]nodeFrontendKey{}, refs: map[uint32]int{},
		rows: map[string]model.Frontend{}, led: map[string]uint16{}, gone: map[nodeBackend]time.Time{},
	}
	var key nodeFrontendKey
	var value nodeFrontend
	ports := map[nodeAddr]int{}
	rows := n.objects.Frontends.Iterate()
	for rows.Next(&key, &value) {
		s.entries[key] = value
		s.byRow[rowKey(key, value)] = append(s.byRow[rowKey(key, value)], key)
		s.refs[value.Set]++
		s.names.Hold(value.Id)
		ports[key.Addr] += vipPorts(value)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read frontends: %w", err)
	}
	var err error
	if s.vips, err = entry.ReadCounts(n.objects.Vips, ports); err != nil {
		return nil, fmt.Errorf("addresses of Services: %w", err)
	}
	return s, s.readSets()
}

// vipPorts is 1 for a frontend whose address is the Service's alone, else 0.
func vipPorts(value nodeFrontend) int {
	if value.Flags&(frontendClusterIP|frontendLoadBalancer) != 0 {
		return 1
	}
	return 0
}

func (s *services) readSets() error {
	var number uint32
	var set nodeSet
	rows := s.node.objects.Sets.Iterate()
	for rows.Next(&number, &set) {
		slots := make([]nodeBackend, set.Count)
		for slot := range slots {
			key := nodeSlotKey{Set: number, Slot: uint32(slot)}
			if err := s.node.objects.Backends.Lookup(key, &slots[slot]); err != nil {
				return fmt.Errorf("read backend %d of set %d: %w", slot, number, err)
			}
		}
		s.sets[number] = slots
		s.names.Hold(number)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read sets of backends: %w", err)
	}
	return s.readLeaving()
}

// put writes an entry of frontends and keeps count of what it refers to. After
// an error it is as if there had been no try, but for the Service's address.
func (s *services) put(key nodeFrontendKey, value nodeFrontend) error {
	old, was := s.entries[key]
	if was && old == value {
		return nil
	}
	more := vipPorts(value) - vipPorts(old) // no entry has no flags
	if more > 0 {                           // a new address may have no room
		if err := s.vips.Expect(key.Addr, more); err != nil {
			return fmt.Errorf("write the Service's address: %w", err)
		}
	}
	if err := entry.Put(s.node.objects.Frontends, key, value); err != nil {
		err = fmt.Errorf("write frontend %s: %w", key, err)
		if more > 0 {
			err = errors.Join(err, s.vips.Lack(rowKey(key, value), key.Addr))
		}
		return err
	}
	s.entries[key] = value
	s.refs[value.Set]++
	s.names.Hold(value.Id)
	if was {
		s.forget(key, old)
	}
	s.byRow[rowKey(key, value)] = append(s.byRow[rowKey(key, value)], key)
	err := s.vips.Add(key.Addr, more)
	if was {
		err = errors.Join(err, s.release(old))
	}
	return err
}

func (s *services) drop(key nodeFrontendKey) error {
	old, was := s.entries[key]
	if !was {
		return nil
	}
	if err := entry.Remove(s.node.objects.Frontends, key); err != nil {
		return fmt.Errorf("remove frontend %s: %w", key, err)
	}
	delete(s.entries, key)
	s.forget(key, old)
	return errors.Join(s.vips.Add(key.Addr, -vipPorts(old)), s.release(old))
}

func (s *services) forget(key nodeFrontendKey, value nodeFrontend) {
	row := rowKey(key, value)
	s.byRow[row] = slices.DeleteFunc(s.byRow[row], func(k nodeFrontendKey) bool { return k == key })
	if len(s.byRow[row]) == 0 {
		delete(s.byRow, row)
	}
}

// release takes back an entry's references: to the Service's name, and to the
// set, which goes with the last one if it has no row any more.
func (s *services) release(old nodeFrontend) error {
	err := s.names.Release(old.Id)
	if s.refs[old.Set]--; s.refs[old.Set] > 0 {
		return err
	}
	delete(s.refs, old.Set)
	if _, wanted := s.setKeys[old.Set]; wanted {
		return err
	}
	return errors.Join(err, s.removeSet(old.Set))
}

// removeSet takes a set out of the maps: its count, then its slots.
func (s *services) removeSet(number uint32) error {
	slots, ok := s.sets[number]
	if !ok {
		return nil
	}
	before := s.backendsOf(number)
	if err := entry.Remove(s.node.objects.Sets, number); err != nil {
		return fmt.Errorf("remove set %d: %w", number, err)
	}
	if err := s.removeSlots(number, 0, len(slots)); err != nil {
		return err
	}
	if err := s.dropLeaving(number, nil); err != nil {
		return err
	}
	delete(s.sets, number)
	if err := s.names.Release(number); err != nil {
		return err
	}
	return s.backendsGone(before)
}

func (s *services) removeSlots(set uint32, from, to int) error {
	for slot := from; slot < to; slot++ {
		if err := entry.Remove(s.node.objects.Backends, nodeSlotKey{Set: set, Slot: uint32(slot)}); err != nil {
			return fmt.Errorf("remove backend %d of set %d: %w", slot, set, err)
		}
	}
	return nil
}

// writeSet makes a set have these backends, and those leave it. Who is leaving is
// written before he has no slot any more, so that conversations stay.
func (s *services) writeSet(number uint32, backends []nodeBackend, leaving map[uint32]nodeBackend) error {
	before := s.backendsOf(number)
	err := s.putLeaving(number, leaving)
	if err == nil {
		err = s.writeSlots(number, backends)
	}
	if err == nil {
		err = s.dropLeaving(number, leaving)
	}
	now := s.backendsOf(number)
	return errors.Join(err, s.backendsGone(slices.DeleteFunc(before, func(b nodeBackend) bool { return among(now, b) })))
}

// backendsOf are all that have a conversation of the set.
func (s *services) backendsOf(number uint32) []nodeBackend {
	return slices.AppendSeq(slices.Clone(s.sets[number]), maps.Values(s.leaving[number]))
}

// writeSlots gives a set its backends. The programs never see a slot below the
// count without a backend, nor one whose backend is none of the old and the new.
func (s *services) writeSlots(number uint32, backends []nodeBackend) error {
	old, was := s.sets[number]
	slots := entry.Arrange(old, backends) // conversations look for their backend where it was
	for slot, b := range slots {
		if slot < len(old) && old[slot] == b {
			continue
		}
		if err := entry.Put(s.node.objects.Backends, nodeSlotKey{Set: number, Slot: uint32(slot)}, b); err != nil {
			return fmt.Errorf("write backend %s of set %d: %w", b, number, err)
		}
	}
	if !was || len(old) != len(slots) {
		if err := entry.Put(s.node.objects.Sets, number, nodeSet{Count: uint32(len(slots))}); err != nil {
			return fmt.Errorf("write set %d: %w", number, err)
		}
	}
	if !was {
		s.names.Hold(number)
	}
	s.sets[number] = slots
	return s.removeSlots(number, len(slots), len(old))
}

// backendsFrom are the map's values for addresses of a row.
func (s *services) backendsFrom(row model.BackendSet, addresses []netip.AddrPort) []nodeBackend {
	backends := make([]nodeBackend, 0, len(addresses))
	for _, b := range addresses {
		value := nodeBackend{Addr: addrFrom(b.Addr()), Port: be16(b.Port()), Proto: uint8(row.Protocol)}
		if slices.Contains(s.node.addresses(), b.Addr().Unmap()) {
			value.Flags = backendNode
		}
		backends = append(backends, value)
	}
	return backends
}

// addresses are all of the node's own.
func (n *Node) addresses() []netip.Addr {
	var all []netip.Addr
	for _, a := range append([]netip.Addr{n.options.IPv4, n.options.IPv6}, n.options.Addresses...) {
		if a.IsValid() && !slices.Contains(all, a.Unmap()) {
			all = append(all, a.Unmap())
		}
	}
	return all
}

func (k nodeFrontendKey) String() string {
	return netip.AddrPortFrom(k.Addr.addr(), be16(k.Port)).String() + "/" + model.L4Protocol(k.Proto).String()
}

func (b nodeBackend) String() string {
	return netip.AddrPortFrom(b.Addr.addr(), be16(b.Port)).String() + "/" + model.L4Protocol(b.Proto).String()
}
