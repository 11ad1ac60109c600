package datapath

import (
	"errors"
	"maps"
	"slices"

	"github.com/waggle-mesh/waggle/internal/datapath/names"
)

// read takes note of what an earlier agent left in the maps.
func (n *Node) read() error {
	named, err := names.Read(n.objects.Names)
	if err != nil {
		return err
	}
	if n.services, err = readServices(n, named); err != nil {
		return err
	}
	if n.policies, err = readPolicies(n, named); err != nil {
		return err
	}
	return n.readPrefixes()
}

// Frontends is the output of model.Frontend rows.
func (n *Node) Frontends() Frontends { return Frontends{n.services} }

// BackendSets is the output of model.BackendSet rows.
func (n *Node) BackendSets() BackendSets { return BackendSets{n.services} }

// Endpoints is the output of model.PodEndpoint rows.
func (n *Node) Endpoints() Endpoints { return Endpoints{n.policies} }

// Verdicts is the output of model.Verdict rows.
func (n *Node) Verdicts() Verdicts { return Verdicts{n.policies} }

// Identities is the output of model.IPIdentity rows. Those of the node's own
// addresses are among them: the node may always talk to its pods.
func (n *Node) Identities() Identities { return Identities{n} }

// SetListeners tells the logical numbers of the Envoy listeners that are live,
// by the names that Frontends and Verdicts use. Frontends that name another are
// rejected, connections whose verdict names another are dropped. After an error
// maps may still lead to listeners that are not named any more; the next call
// tries that again.
func (n *Node) SetListeners(numbers map[string]uint16) error {
	s, p := n.services, n.policies
	s.mu.Lock()
	defer s.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	s.listeners, p.listeners = maps.Clone(numbers), maps.Clone(numbers)
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(s.rows)) {
		if row := s.rows[key]; row.Redirect != "" && !leads(s.led, key, numbers[row.Redirect]) {
			errs = append(errs, s.write(row))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(p.rows)) {
		if row := p.rows[key]; row.Listener != "" && !leads(p.led, key, numbers[row.Listener]) {
			errs = append(errs, p.writeVerdict(row))
		}
	}
	return errors.Join(errs...)
}

// leads tells whether the map is known to have a number for a row.
func leads(led map[string]uint16, row string, number uint16) bool {
	have, ok := led[row]
	return ok && have == number
}
