package datapath

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/waggle-mesh/waggle/internal/datapath/entry"
	"github.com/waggle-mesh/waggle/internal/datapath/names"
	"github.com/waggle-mesh/waggle/internal/model"
)

// policies is what the outputs of endpoints and of verdicts share: a change of
// an endpoint's verdicts gives it a new revision, by which the programs know
// that what they remember about its connections is to be judged anew.
type policies struct {
	mu        sync.Mutex
	node      *Node
	names     *names.Table
	endpoints map[nodeAddr]nodeEndpoint // as in the map
	verdicts  map[string]verdict        // by row, as in the map
	rows      map[string]model.Verdict  // that were written
	pods      map[string]model.PodEndpoint
	listeners map[string]uint16
	led       map[string]uint16 // the number that the map has for a row with a listener, where that is known
	revision  uint32
	stale     map[uint32]bool // endpoints whose verdicts changed, but not yet their revision
	missing   *entry.Missing  // verdicts that forbid or lead to the proxy: without them their endpoint lets nothing pass
}

type verdict struct {
	key   nodePolicyKey
	value nodePolicy
}

// Endpoints writes the pods of the node.
type Endpoints struct{ *policies }

// Verdicts writes their policies.
type Verdicts struct{ *policies }

// Identities writes who is behind addresses.
type Identities struct{ node *Node }

func readPolicies(n *Node, named *names.Table) (*policies, error) {
	p := &policies{
		node: n, names: named, endpoints: map[nodeAddr]nodeEndpoint{}, verdicts: map[string]verdict{},
		rows: map[string]model.Verdict{}, led: map[string]uint16{}, pods: map[string]model.PodEndpoint{}, stale: map[uint32]bool{},
		missing: entry.NewMissing(),
	}
	var addr nodeAddr
	var endpoint nodeEndpoint
	rows := n.objects.Endpoints.Iterate()
	for rows.Next(&addr, &endpoint) {
		p.endpoints[addr] = endpoint
		p.revision = max(p.revision, endpoint.Revision)
		p.missing.Inherit(endpoint.Id, endpoint.Enforce>>enforceAll)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read endpoints: %w", err)
	}
	var key nodePolicyKey
	var value nodePolicy
	rows = n.objects.Policy.Iterate()
	for rows.Next(&key, &value) {
		p.verdicts[key.row()] = verdict{key, value}
		p.names.Hold(value.Rule)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read policy: %w", err)
	}
	var last uint64
	if err := n.objects.Settings.Lookup(uint32(nodeSettingSETTING_REVISION), &last); err != nil {
		return nil, fmt.Errorf("read the last revision: %w", err)
	}
	p.revision = max(p.revision, uint32(last))
	return p, nil
}

// next is a revision that no endpoint had before. It is noted before it is
// used, so that a later agent goes on behind it.
func (p *policies) next() (uint32, error) {
	p.revision++
	if p.revision == 0 {
		p.revision = 1
	}
	if err := p.node.objects.Settings.Put(uint32(nodeSettingSETTING_REVISION), uint64(p.revision)); err != nil {
		return 0, fmt.Errorf("note revision %d: %w", p.revision, err)
	}
	return p.revision, nil
}

// Update makes the programs know a pod by all its addresses.
func (e Endpoints) Update(_ context.Context, row model.PodEndpoint) (struct{}, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	value := nodeEndpoint{
		Id: uint32(row.ID), Identity: uint32(row.Identity), Ifindex: uint32(row.Index), Mac: row.MAC, HostMac: row.HostMAC,
		Netns: row.Namespace, Enforce: e.missing.Bits(uint32(row.ID)) << enforceAll,
	}
	if row.EnforceIngress {
		value.Enforce |= 1 << model.Ingress
	}
	if row.EnforceEgress {
		value.Enforce |= 1 << model.Egress
	}
	e.pods[row.Key()] = row
	wanted := map[nodeAddr]bool{}
	for _, a := range row.Addresses {
		wanted[addrFrom(a)] = true
	}
	if err := e.write(value, wanted); err != nil {
		return struct{}{}, err
	}
	for addr, old := range e.endpoints {
		if old.Id == value.Id && !wanted[addr] {
			if err := e.remove(addr); err != nil {
				return struct{}{}, err
			}
		}
	}
	return struct{}{}, nil
}

// write gives all addresses of an endpoint one value, of a new revision unless
// nothing has changed.
func (p *policies) write(value nodeEndpoint, addrs map[nodeAddr]bool) error {
	same := true
	for addr := range addrs {
		old, ok := p.endpoints[addr]
		value.Revision = old.Revision
		same = same && ok && old == value
	}
	if same {
		return nil
	}
	var err error
	if value.Revision, err = p.next(); err != nil {
		return err
	}
	for addr := range addrs {
		if err := entry.Put(p.node.objects.Endpoints, addr, value); err != nil {
			return fmt.Errorf("write endpoint %d at %s: %w", value.Id, addr.addr(), err)
		}
		p.endpoints[addr] = value
	}
	return nil
}

func (p *policies) remove(addr nodeAddr) error {
	if err := entry.Remove(p.node.objects.Endpoints, addr); err != nil {
		return fmt.Errorf("remove endpoint at %s: %w", addr.addr(), err)
	}
	delete(p.endpoints, addr)
	return nil
}

// Delete makes the programs forget a pod.
func (e Endpoints) Delete(_ context.Context, key string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.pods, key)
	return e.removeAll(func(row string) bool { return row == key })
}

// Prune makes the programs forget the pods that are in no row.
func (e Endpoints) Prune(_ context.Context, keys []string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	wanted := entry.SetOf(keys)
	return e.removeAll(func(row string) bool { return !wanted[row] })
}

func (p *policies) removeAll(gone func(row string) bool) error {
	var errs []error
	for addr, value := range p.endpoints {
		if gone(model.PodEndpoint{ID: uint16(value.Id)}.Key()) {
			errs = append(errs, p.remove(addr))
		}
	}
	return errors.Join(errs...)
}

// Update writes a verdict and has the endpoint's connections judged anew.
func (v Verdicts) Update(_ context.Context, row model.Verdict) (struct{}, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return struct{}{}, v.writeVerdict(row)
}

func (p *policies) writeVerdict(row model.Verdict) error {
	delete(p.led, row.Key())
	rule, unnamed := p.names.Of(names.Rule, row.Rule) // 0: it counts all the same
	key := nodePolicyKey{
		Endpoint: uint32(row.Endpoint), Identity: uint32(row.Identity), Port: be16(row.Port), Proto: uint8(row.Protocol),
		Direction: uint8(row.Direction),
	}
	value := nodePolicy{Action: uint8(row.Action), Rule: rule}
	if row.Action == model.ToProxy {
		value.Proxy = p.listeners[row.Listener] // 0: nobody listens, which drops
	}
	p.rows[row.Key()] = row
	if err := p.putVerdict(row.Key(), verdict{key, value}); err != nil {
		return err
	}
	if row.Listener != "" {
		p.led[row.Key()] = p.listeners[row.Listener]
	}
	return unnamed
}

// putVerdict writes a row's entry and gives the endpoint its revision.
func (p *policies) putVerdict(row string, now verdict) error {
	old, was := p.verdicts[row]
	if was && old.value == now.value {
		p.accept(row)
		return p.bump(now.key.Endpoint)
	}
	p.stale[now.key.Endpoint] = true
	if err := entry.Put(p.node.objects.Policy, now.key, now.value); err != nil {
		err = fmt.Errorf("write verdict of endpoint %d: %w", now.key.Endpoint, err)
		if now.value.Action != uint8(model.Allow) && p.missing.Add(row, now.key.Endpoint, now.key.Direction) {
			err = errors.Join(err, p.bump(now.key.Endpoint))
		}
		return err
	}
	p.accept(row)
	p.verdicts[row] = now
	p.names.Hold(now.value.Rule)
	if was {
		if err := p.names.Release(old.value.Rule); err != nil {
			return err
		}
	}
	return p.bump(now.key.Endpoint)
}

// accept takes note that a row is in the map, or has no need to.
func (p *policies) accept(row string) {
	if id, was := p.missing.Remove(row); was {
		p.stale[id] = true
	}
}

// allTried says that every row was tried since the start: what an earlier agent
// lacked is in the map, or refused again.
func (p *policies) allTried() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for _, id := range p.missing.Disinherit() {
		p.stale[id] = true
		errs = append(errs, p.bump(id))
	}
	return errors.Join(errs...)
}

// bump gives an endpoint a new revision, if its verdicts changed since it got
// the last.
func (p *policies) bump(id uint32) error {
	if !p.stale[id] {
		return nil
	}
	addrs := map[nodeAddr]bool{}
	var value nodeEndpoint
	for addr, e := range p.endpoints {
		if e.Id == id {
			addrs[addr], value = true, e
		}
	}
	if len(addrs) == 0 {
		delete(p.stale, id)
		return nil
	}
	revision, err := p.next()
	if err != nil {
		return err
	}
	value.Revision = revision
	value.Enforce = value.Enforce&(1<<enforceAll-1) | p.missing.Bits(id)<<enforceAll
	for addr := range addrs {
		if err := entry.Put(p.node.objects.Endpoints, addr, value); err != nil {
			return fmt.Errorf("write revision of endpoint %d: %w", id, err)
		}
		p.endpoints[addr] = value
	}
	delete(p.stale, id)
	return nil
}

// Delete takes a verdict back.
func (v Verdicts) Delete(_ context.Context, key string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.rows, key)
	delete(v.led, key)
	if err := v.removeVerdict(key); err != nil {
		return err
	}
	for id := range v.stale { // a removal that went half way
		if err := v.bump(id); err != nil {
			return err
		}
	}
	return nil
}

func (p *policies) removeVerdict(row string) error {
	p.accept(row)
	old, ok := p.verdicts[row]
	if !ok {
		return nil
	}
	if err := entry.Remove(p.node.objects.Policy, old.key); err != nil {
		return fmt.Errorf("remove verdict of endpoint %d: %w", old.key.Endpoint, err)
	}
	p.stale[old.key.Endpoint] = true
	delete(p.verdicts, row)
	if err := p.names.Release(old.value.Rule); err != nil {
		return err
	}
	return p.bump(old.key.Endpoint)
}

// Prune takes back all verdicts that are in no row.
func (v Verdicts) Prune(_ context.Context, keys []string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	wanted := entry.SetOf(keys)
	var errs []error
	for row := range v.verdicts {
		if !wanted[row] {
			errs = append(errs, v.removeVerdict(row))
		}
	}
	return errors.Join(errs...)
}

// row is the key of the verdict's row.
func (k nodePolicyKey) row() string {
	return model.Verdict{
		Endpoint: uint16(k.Endpoint), Direction: model.Direction(k.Direction), Identity: model.Identity(k.Identity),
		Protocol: model.L4Protocol(k.Proto), Port: be16(k.Port),
	}.Key()
}

// Update tells the programs who is behind a prefix.
func (i Identities) Update(_ context.Context, row model.IPIdentity) (struct{}, error) {
	value := nodeIpcache{Identity: uint32(row.Identity), Node: addrFrom(row.Node)}
	if row.Cluster {
		value.Flags |= ipcacheCluster
	}
	if err := entry.Put(i.node.objects.Ipcache, prefixFrom(row.Prefix), value); err != nil {
		return struct{}{}, fmt.Errorf("write identity of %s: %w", row.Prefix, err)
	}
	i.node.mu.Lock()
	i.node.prefixes[row.Key()] = prefixFrom(row.Prefix)
	i.node.mu.Unlock()
	return struct{}{}, nil
}

// Delete makes a prefix as unknown as the world.
func (i Identities) Delete(_ context.Context, key string) error {
	i.node.mu.Lock()
	defer i.node.mu.Unlock()
	prefix, ok := i.node.prefixes[key]
	if !ok {
		return nil
	}
	if err := entry.Remove(i.node.objects.Ipcache, prefix); err != nil {
		return fmt.Errorf("remove identity of %s: %w", key, err)
	}
	delete(i.node.prefixes, key)
	return nil
}

// Prune forgets all prefixes that are in no row.
func (i Identities) Prune(ctx context.Context, keys []string) error {
	wanted := entry.SetOf(keys)
	i.node.mu.Lock()
	var gone []string
	for row := range i.node.prefixes {
		if !wanted[row] {
			gone = append(gone, row)
		}
	}
	i.node.mu.Unlock()
	var errs []error
	for _, row := range gone {
		errs = append(errs, i.Delete(ctx, row))
	}
	return errors.Join(errs...)
}

func (n *Node) readPrefixes() error {
	n.prefixes = map[string]nodeIpcacheKey{}
	var key nodeIpcacheKey
	var value nodeIpcache
	rows := n.objects.Ipcache.Iterate()
	for rows.Next(&key, &value) {
		n.prefixes[model.IPIdentity{Prefix: key.prefix()}.Key()] = key
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read identities: %w", err)
	}
	return nil
}
