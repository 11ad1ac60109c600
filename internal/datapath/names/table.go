// Package names gives numbers to what maps refer to by number and people by
// name. The names are in a map themselves, so that they outlive the process.
package names

import (
	"bytes"
	"errors"
	"fmt"
	"sync"

	"github.com/cilium/ebpf"

	"github.com/waggle-mesh/waggle/internal/datapath/entry"
)

// Table is the numbers by which maps call what has a name: sets of backends,
// Services, rules. They are in a map themselves, so that a new agent, and
// commands without one, read them. A number goes when nothing holds it.
type Table struct {
	mu      sync.Mutex
	table   *ebpf.Map
	numbers map[string]uint32
	texts   map[uint32]string
	holders map[uint32]int
	next    uint32
}

// What is numbered; the first part of a name.
const (
	Set     = "set "
	Service = "service "
	Rule    = "rule "
)

// Text is struct name of bpf/maps.h.
type Text [192]byte

// Read takes note of the names that are in the map.
func Read(table *ebpf.Map) (*Table, error) {
	n := &Table{table: table, numbers: map[string]uint32{}, texts: map[uint32]string{}, holders: map[uint32]int{}, next: 1}
	var number uint32
	var name Text
	rows := table.Iterate()
	for rows.Next(&number, &name) {
		n.numbers[name.String()], n.texts[number] = number, name.String()
		n.next = max(n.next, number+1)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read names: %w", err)
	}
	return n, nil
}

// String is the name up to its end.
func (t Text) String() string {
	text, _, _ := bytes.Cut(t[:], []byte{0})
	return string(text)
}

// Find is the number that a name has.
func (n *Table) Find(kind, name string) (uint32, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	number, ok := n.numbers[kind+name]
	return number, ok
}

// Of is the number of a name, a new one if it has none. Names longer than the
// map's are cut; their numbers last as long as the agent.
func (n *Table) Of(kind, name string) (uint32, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	name = kind + name
	if number, ok := n.numbers[name]; ok {
		return number, nil
	}
	var text Text
	copy(text[:len(text)-1], name)
	for {
		number := n.next
		n.next++
		if _, taken := n.texts[number]; taken || number == 0 {
			continue
		}
		if err := entry.Put(n.table, number, text); err != nil {
			return 0, fmt.Errorf("number %s: %w", name, err)
		}
		n.numbers[name], n.texts[number] = number, name
		return number, nil
	}
}

// Hold says that an entry of a map has the number.
func (n *Table) Hold(number uint32) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.holders[number]++
}

// Release takes a hold back; the last one forgets the name. Its number is not
// used again before all others were.
func (n *Table) Release(number uint32) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.holders[number]--; n.holders[number] > 0 {
		return nil
	}
	delete(n.holders, number)
	if err := n.table.Delete(number); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("forget the name %s: %w", n.texts[number], err)
	}
	delete(n.numbers, n.texts[number])
	delete(n.texts, number)
	return nil
}
