package datapath

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unsafe"

	"github.com/cilium/ebpf"
)

// names are the numbers by which maps call what has a name: sets of backends,
// Services, rules. They are in a map themselves, so that a new agent, and
// commands without one, read them.
type names struct {
	table   *ebpf.Map
	numbers map[string]uint32
	next    uint32
}

// What is numbered; the first part of a name.
const (
	nameSet     = "set "
	nameService = "service "
	nameRule    = "rule "
)

func readNames(table *ebpf.Map) (*names, error) {
	n := &names{table: table, numbers: map[string]uint32{}, next: 1}
	var number uint32
	var name nodeName
	rows := table.Iterate()
	for rows.Next(&number, &name) {
		n.numbers[name.String()] = number
		n.next = max(n.next, number+1)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read names: %w", err)
	}
	return n, nil
}

func (n nodeName) String() string {
	text := unsafe.Slice((*byte)(unsafe.Pointer(&n.Text)), len(n.Text))
	text, _, _ = bytes.Cut(text, []byte{0})
	return string(text)
}

// of is the number of a name, a new one if it has none. Names longer than the
// map's are cut; their numbers last as long as the agent.
func (n *names) of(kind, name string) (uint32, error) {
	name = kind + name
	if number, ok := n.numbers[name]; ok {
		return number, nil
	}
	var text nodeName
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&text.Text)), len(text.Text)-1), name)
	for {
		number := n.next
		n.next++
		err := n.table.Update(number, text, ebpf.UpdateNoExist)
		if errors.Is(err, ebpf.ErrKeyExist) || number == 0 {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("number %s: %w", name, err)
		}
		n.numbers[name] = number
		return number, nil
	}
}

// drop forgets a name; its number is not used again before all others were.
func (n *names) drop(kind, name string) error {
	number, ok := n.numbers[kind+name]
	if !ok {
		return nil
	}
	if err := remove(n.table, number); err != nil {
		return fmt.Errorf("forget the number of %s: %w", name, err)
	}
	delete(n.numbers, kind+name)
	return nil
}

// dropNumber forgets whatever has a number.
func (n *names) dropNumber(kind string, number uint32) error {
	for name, other := range n.numbers {
		if other == number {
			return n.drop(kind, strings.TrimPrefix(name, kind))
		}
	}
	return nil
}

// remove deletes an entry that may be missing.
func remove(m *ebpf.Map, key any) error {
	if err := m.Delete(key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return err
	}
	return nil
}
