package standalone

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/waggle-mesh/waggle/internal/gateway"
	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/operator"
)

// loopback gives each Gateway an address of 127.0.0.0/8 of its own. It is an
// Output (see package reconcile): the addresses are kept in a file, so that
// the next process gives the same ones and takes over the running Envoy
// without moving a listener.
type loopback struct {
	file string
	all  netip.Addr            // if valid, everyone's address
	held map[string]netip.Addr // by Gateway
}

var loopbackRange = netip.MustParsePrefix("127.0.0.0/8")

// newLoopback reads what an earlier process gave. A file that cannot be read
// is as good as none.
func newLoopback(dir string, all netip.Addr) (*loopback, error) {
	l := &loopback{file: filepath.Join(dir, "addresses.json"), all: all, held: map[string]netip.Addr{}}
	text, err := os.ReadFile(l.file)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read addresses: %w", err)
	}
	if json.Unmarshal(text, &l.held) != nil {
		l.held = map[string]netip.Addr{}
	}
	return l, nil
}

// Update gives a Gateway its address: the one it asks for, the one it has, or
// the first that is free.
func (l *loopback) Update(_ context.Context, r request) (operator.Address, error) {
	out := operator.Address{Gateway: r.gateway}
	address, problem := l.choose(r)
	if !problem.OK() {
		out.Problem = problem
		return out, l.Delete(context.Background(), r.Key())
	}
	if before, had := l.held[r.Key()]; !had || before != address {
		l.held[r.Key()] = address
		if err := l.save(); err != nil {
			delete(l.held, r.Key())
			return out, err
		}
	}
	out.Addresses = []netip.Addr{address}
	return out, nil
}

func (l *loopback) choose(r request) (netip.Addr, gateway.Problem) {
	if r.wanted != "" {
		address, err := netip.ParseAddr(r.wanted)
		if err != nil || !loopbackRange.Contains(address) {
			return netip.Addr{}, gateway.Problem{
				Reason: string(gatewayv1.GatewayReasonAddressNotUsable),
				Message: fmt.Sprintf("spec.addresses[0].value: %q is not in %s, and no other can be used without a cluster; correct or remove it",
					r.wanted, loopbackRange),
			}
		}
		return address, gateway.Problem{}
	}
	if l.all.IsValid() {
		return l.all, gateway.Problem{}
	}
	taken := map[netip.Addr]bool{}
	for key, a := range l.held {
		taken[a] = taken[a] || key != r.Key()
	}
	if before, ok := l.held[r.Key()]; ok && !taken[before] && loopbackRange.Contains(before) {
		return before, gateway.Problem{}
	}
	for a := netip.MustParseAddr("127.0.0.1"); loopbackRange.Contains(a.Next()); a = a.Next() {
		if !taken[a] {
			return a, gateway.Problem{}
		}
	}
	return netip.Addr{}, gateway.Problem{
		Reason:  string(gatewayv1.GatewayReasonAddressNotAssigned),
		Message: "all addresses of " + loopbackRange.String() + " are taken",
	}
}

// Delete takes a Gateway's address back.
func (l *loopback) Delete(_ context.Context, key string) error {
	before, had := l.held[key]
	if !had {
		return nil
	}
	delete(l.held, key)
	if err := l.save(); err != nil {
		l.held[key] = before
		return err
	}
	return nil
}

// Prune takes back what Gateways had that are no more.
func (l *loopback) Prune(_ context.Context, keys []string) error {
	kept := map[string]netip.Addr{}
	for _, k := range keys {
		if a, ok := l.held[k]; ok {
			kept[k] = a
		}
	}
	if len(kept) == len(l.held) {
		return nil
	}
	l.held = kept
	return l.save()
}

// save replaces the file in one step.
func (l *loopback) save() error {
	text, err := json.Marshal(l.held)
	if err != nil {
		panic(err) // strings and addresses
	}
	part := l.file + ".part"
	if err := os.WriteFile(part, text, 0o600); err != nil {
		return fmt.Errorf("keep addresses: %w", err)
	}
	if err := os.Rename(part, l.file); err != nil {
		return fmt.Errorf("keep addresses: %w", err)
	}
	return nil
}

// remove takes the file away.
func (l *loopback) remove() error {
	if err := os.Remove(l.file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove addresses: %w", err)
	}
	return nil
}

// refused is the row for a request that could not be granted.
func refused(gatewayName model.Name, err error) operator.Address {
	return operator.Address{Gateway: gatewayName, Problem: gateway.Problem{
		Reason: string(gatewayv1.GatewayReasonAddressNotAssigned), Message: err.Error(),
	}}
}
