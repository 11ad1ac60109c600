package datapath

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/waggle-mesh/waggle/internal/datapath/entry"
	"github.com/waggle-mesh/waggle/internal/datapath/names"
	"github.com/waggle-mesh/waggle/internal/model"
)

// Frontends writes Services' addresses. It refuses a row whose BackendSets are
// not written yet; the loop tries again.
type Frontends struct{ *services }

// BackendSets writes what is behind the frontends.
type BackendSets struct{ *services }

// Update makes the programs answer at a Service's address.
func (f Frontends) Update(_ context.Context, row model.Frontend) (struct{}, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return struct{}{}, f.write(row)
}

func (s *services) write(row model.Frontend) error {
	delete(s.led, row.Key())
	entries, err := s.entriesFrom(row)
	if err != nil {
		return errors.Join(err, s.close(row))
	}
	for _, e := range entries {
		if err := s.put(e.key, e.value); err != nil {
			return err
		}
	}
	for _, key := range slices.Clone(s.byRow[row.Key()]) {
		if slices.ContainsFunc(entries, func(e frontendEntry) bool { return e.key == key }) {
			continue
		}
		if err := s.drop(key); err != nil {
			return err
		}
	}
	if err := s.vips.LackNone(row.Key()); err != nil {
		return err
	}
	s.rows[row.Key()] = row
	if row.Redirect != "" {
		s.led[row.Key()] = s.listeners[row.Redirect]
	}
	return nil
}

// close closes the address of a row that cannot be written: else what asks for
// it would go out into the world.
func (s *services) close(row model.Frontend) error {
	if vipPorts(nodeFrontend{Flags: flagsFrom(row)}) == 0 {
		return nil
	}
	return s.vips.Lack(row.Key(), addrFrom(row.Address.Addr()))
}

// Delete takes a Service's address away.
func (f Frontends) Delete(_ context.Context, key string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.rows, key)
	delete(f.led, key)
	for _, entry := range slices.Clone(f.byRow[key]) {
		if err := f.drop(entry); err != nil {
			return err
		}
	}
	return f.vips.LackNone(key)
}

// Prune takes away all addresses that are in no row.
func (f Frontends) Prune(_ context.Context, keys []string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	wanted := entry.SetOf(keys)
	var errs []error
	for key, value := range f.entries {
		if !wanted[rowKey(key, value)] {
			errs = append(errs, f.drop(key))
		}
	}
	return errors.Join(errs...)
}

// rowKey is the key of the row that an entry is of.
func rowKey(key nodeFrontendKey, value nodeFrontend) string {
	addr := key.Addr.addr()
	if value.Flags&frontendNodePort != 0 {
		addr = netip.PrefixFrom(addr, 0).Masked().Addr() // unspecified
	}
	return model.Frontend{
		Address: netip.AddrPortFrom(addr, be16(key.Port)), Protocol: model.L4Protocol(key.Proto),
	}.Key()
}

type frontendEntry struct {
	key   nodeFrontendKey
	value nodeFrontend
}

// entriesFrom are the entries of a row: one for each of its addresses and of
// those who may ask.
func (s *services) entriesFrom(row model.Frontend) ([]frontendEntry, error) {
	id, err := s.names.Of(names.Service, fmt.Sprintf("%s:%d", row.Service, row.Port))
	if err != nil {
		return nil, err
	}
	value := nodeFrontend{Flags: flagsFrom(row), Id: id}
	if row.Redirect != "" {
		value.Proxy = s.listeners[row.Redirect]
		value.Flags |= frontendRedirect
		if value.Proxy == 0 {
			value.Flags |= frontendReject
		}
	}
	var entries []frontendEntry
	for scope, set := range map[nodeScope]string{nodeScopeSCOPE_INTERNAL: row.Internal, nodeScopeSCOPE_EXTERNAL: row.External} {
		if set == "" && (row.Redirect == "" || scope == nodeScopeSCOPE_EXTERNAL && row.Kind == model.ClusterIP) {
			continue
		}
		if value.Set, err = s.setNumber(row, set); err != nil {
			return nil, err
		}
		for _, addr := range s.addressesOf(row) {
			key := nodeFrontendKey{
				Addr: addrFrom(addr), Port: be16(row.Address.Port()), Proto: uint8(row.Protocol), Scope: uint8(scope),
			}
			entries = append(entries, frontendEntry{key, value})
		}
	}
	return entries, nil
}

// setNumber is the number of a set that is in the maps. A redirected Service
// may have none; the proxy's own connections to it need one.
func (s *services) setNumber(row model.Frontend, set string) (uint32, error) {
	if set == "" {
		return 0, nil
	}
	number, ok := s.names.Find(names.Set, set)
	if _, written := s.sets[number]; !ok || !written {
		return 0, fmt.Errorf("frontend %s: its backends are not written yet", row.Address)
	}
	return number, nil
}

// addressesOf are those at which a row answers. The unspecified one stands for
// the loopback addresses of the node.
func (s *services) addressesOf(row model.Frontend) []netip.Addr {
	if !row.Address.Addr().IsUnspecified() {
		return []netip.Addr{row.Address.Addr()}
	}
	addrs := []netip.Addr{row.Address.Addr()}
	for _, a := range s.node.addresses() {
		if a.Is4() == row.Address.Addr().Is4() {
			addrs = append(addrs, a)
		}
	}
	return addrs
}

func flagsFrom(row model.Frontend) uint8 {
	flags := map[model.FrontendKind]uint8{
		model.ClusterIP: frontendClusterIP, model.NodePort: frontendNodePort,
		model.LoadBalancer: frontendLoadBalancer, model.ExternalIP: frontendExternalIP, model.HostPort: frontendExternalIP,
	}[row.Kind]
	if row.Address.Addr().IsUnspecified() {
		flags = frontendNodePort
	}
	if row.KeepSource {
		flags |= frontendKeepSource
	}
	return flags
}

// Update makes a set have the row's backends; those that stay keep their
// conversations.
func (b BackendSets) Update(_ context.Context, row model.BackendSet) (struct{}, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	number, err := b.names.Of(names.Set, row.Key())
	if err != nil {
		return struct{}{}, err
	}
	b.setKeys[number] = row.Key()
	return struct{}{}, b.writeSet(number, b.backendsFrom(row, row.Backends), leavingSlots(b.backendsFrom(row, row.Leaving)))
}

// Delete takes a set away, as soon as no frontend refers to it.
func (b BackendSets) Delete(_ context.Context, key string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	number, ok := b.names.Find(names.Set, key)
	if !ok {
		return nil
	}
	delete(b.setKeys, number)
	if b.refs[number] > 0 {
		return nil
	}
	return b.removeSet(number)
}

// Prune takes away the sets that are in no row.
func (b BackendSets) Prune(_ context.Context, keys []string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	wanted := map[uint32]bool{}
	for _, key := range keys {
		if number, ok := b.names.Find(names.Set, key); ok {
			wanted[number] = true
			b.setKeys[number] = key
		}
	}
	var errs []error
	for number := range b.sets {
		if !wanted[number] && b.refs[number] == 0 {
			errs = append(errs, b.removeSet(number))
		}
	}
	return errors.Join(errs...)
}
