package standalone

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/gateway"
	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/operator"
)

// loopback gives each Gateway an address of 127.0.0.0/8 of its own. It is an
// Output (see package reconcile): the addresses are kept in a file, so that
// the next process gives the same ones and takes over the running Envoy
// without moving a listener. Neither costs more where there are many.
type loopback struct {
	path  string
	file  *os.File              // a line for every change, see entry; nil: not yet there
	lines int                   // in the file
	heir  bool                  // an earlier process left the file
	all   netip.Addr            // if valid, everyone's address
	held  map[string]netip.Addr // by Gateway
	users map[netip.Addr]int    // how many hold it
	free  netip.Addr            // no address before it is

	mu     sync.Mutex
	wanted map[string]int // Gateways that ask for an address, by its text
}

// requested is a sink of the requests that goes before the Loop's: what one
// Gateway asks for is given to no other that would take any.
func (l *loopback) requested(changes []flow.Change[request]) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range changes {
		if c.HadOld && c.Old.wanted != "" {
			if l.wanted[c.Old.wanted]--; l.wanted[c.Old.wanted] == 0 {
				delete(l.wanted, c.Old.wanted)
			}
		}
		if c.HasNew && c.New.wanted != "" {
			l.wanted[c.New.wanted]++
		}
	}
}

func (l *loopback) isWanted(a netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.wanted[a.String()] > 0
}

// entry is a line of the file: a Gateway has an address from here on, or none.
type entry struct {
	Gateway string     `json:"gateway"`
	Address netip.Addr `json:"address"`
}

var (
	loopbackRange = netip.MustParsePrefix("127.0.0.0/8")
	firstLoopback = netip.MustParseAddr("127.0.0.1")
)

// newLoopback reads what an earlier process gave. A line that cannot be read
// is as good as none.
func newLoopback(dir string, all netip.Addr) (*loopback, error) {
	l := emptyLoopback(all)
	l.path = filepath.Join(dir, "addresses.json")
	text, err := os.ReadFile(l.path)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read addresses: %w", err)
	}
	l.heir = true
	for line := range bytes.Lines(text) {
		var e entry
		if json.Unmarshal(line, &e) == nil {
			l.set(e)
		}
	}
	return l, nil
}

// emptyLoopback has given nothing, and keeps no file.
func emptyLoopback(all netip.Addr) *loopback {
	return &loopback{all: all, held: map[string]netip.Addr{}, users: map[netip.Addr]int{}, free: firstLoopback, wanted: map[string]int{}}
}

// set takes note of a change.
func (l *loopback) set(e entry) {
	if before, had := l.held[e.Gateway]; had {
		delete(l.held, e.Gateway)
		if l.users[before]--; l.users[before] == 0 {
			delete(l.users, before)
			if loopbackRange.Contains(before) && before.Less(l.free) && !before.Less(firstLoopback) {
				l.free = before
			}
		}
	}
	if e.Address.IsValid() {
		l.held[e.Gateway] = e.Address
		l.users[e.Address]++
	}
}

// Update gives a Gateway its address, see choose.
func (l *loopback) Update(ctx context.Context, r request) (operator.Address, error) {
	out := l.choose(r)
	if len(out.Addresses) == 0 {
		return out, l.Delete(ctx, r.Key())
	}
	if before, had := l.held[r.Key()]; !had || before != out.Addresses[0] {
		if err := l.save(entry{r.Key(), out.Addresses[0]}); err != nil {
			return operator.Address{Gateway: r.gateway}, err
		}
	}
	return out, nil
}

// choose finds the address of a Gateway: the one it asks for, the one it has,
// or the first that is free. That two ask for one is no matter of addresses
// but of ports, see operator.TakenPort.
func (l *loopback) choose(r request) operator.Address {
	address, problem := l.find(r)
	out := operator.Address{Gateway: r.gateway, Problem: problem}
	if problem.OK() {
		out.Addresses = []netip.Addr{address}
	}
	return out
}

func (l *loopback) find(r request) (netip.Addr, gateway.Problem) {
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
	// What it shares with one that came later and asked for it, it keeps.
	if before, ok := l.held[r.Key()]; ok && loopbackRange.Contains(before) && (l.users[before] == 1 || l.isWanted(before)) {
		return before, gateway.Problem{}
	}
	for ; l.users[l.free] > 0 && loopbackRange.Contains(l.free.Next()); l.free = l.free.Next() {
	}
	for a := l.free; loopbackRange.Contains(a.Next()); a = a.Next() {
		if l.users[a] == 0 && !l.isWanted(a) {
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
	if _, had := l.held[key]; !had {
		return nil
	}
	return l.save(entry{Gateway: key})
}

// Prune takes back what Gateways had that are no more.
func (l *loopback) Prune(_ context.Context, keys []string) error {
	wanted := make(map[string]bool, len(keys))
	for _, k := range keys {
		wanted[k] = true
	}
	for _, k := range slices.Sorted(maps.Keys(l.held)) {
		if wanted[k] {
			continue
		}
		if err := l.save(entry{Gateway: k}); err != nil {
			return err
		}
	}
	return nil
}

// save makes a change, in the file first. A file that holds mostly what is
// over is written anew.
func (l *loopback) save(e entry) error {
	if l.file == nil || l.lines > 2*len(l.held)+1000 {
		if err := l.rewrite(); err != nil {
			return err
		}
	}
	l.lines++
	if _, err := l.file.Write(e.line()); err != nil {
		l.close() // half a line may be there
		return fmt.Errorf("keep addresses: %w", err)
	}
	l.set(e)
	return nil
}

func (e entry) line() []byte {
	text, err := json.Marshal(e)
	if err != nil {
		panic(err) // a string and an address
	}
	return append(text, '\n')
}

// rewrite replaces the file in one step by one that holds what is.
func (l *loopback) rewrite() error {
	var text bytes.Buffer
	for _, key := range slices.Sorted(maps.Keys(l.held)) {
		text.Write(entry{key, l.held[key]}.line())
	}
	part := l.path + ".part"
	if err := os.WriteFile(part, text.Bytes(), 0o600); err != nil {
		return fmt.Errorf("keep addresses: %w", err)
	}
	if err := os.Rename(part, l.path); err != nil {
		return fmt.Errorf("keep addresses: %w", err)
	}
	fresh, err := os.OpenFile(l.path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return fmt.Errorf("keep addresses: %w", err)
	}
	l.close()
	l.file, l.lines = fresh, len(l.held)
	return nil
}

// close leaves the file as it is.
func (l *loopback) close() {
	if l.file != nil {
		l.file.Close()
		l.file = nil
	}
}

// remove takes the file away.
func (l *loopback) remove() error {
	l.close()
	if err := os.Remove(l.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
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
