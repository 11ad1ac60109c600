package datapath

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"unsafe"

	"github.com/cilium/ebpf"
)

// names are the numbers by which maps call what has a name: sets of backends,
// Services, rules. They are in a map themselves, so that a new agent, and
// commands without one, read them. A number goes when nothing holds it.
type names struct {
	mu      sync.Mutex
	table   *ebpf.Map
	numbers map[string]uint32
	texts   map[uint32]string
	holders map[uint32]int
	next    uint32
}

// What is numbered; the first part of a name.
const (
	nameSet     = "set "
	nameService = "service "
	nameRule    = "rule "
)

func readNames(table *ebpf.Map) (*names, error) {
	n := &names{table: table, numbers: map[string]uint32{}, texts: map[uint32]string{}, holders: map[uint32]int{}, next: 1}
	var number uint32
	var name nodeName
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

func (n nodeName) String() string {
	text := unsafe.Slice((*byte)(unsafe.Pointer(&n.Text)), len(n.Text))
	text, _, _ = bytes.Cut(text, []byte{0})
	return string(text)
}

// find is the number that a name has.
func (n *names) find(kind, name string) (uint32, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	number, ok := n.numbers[kind+name]
	return number, ok
}

// of is the number of a name, a new one if it has none. Names longer than the
// map's are cut; their numbers last as long as the agent.
func (n *names) of(kind, name string) (uint32, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	name = kind + name
	if number, ok := n.numbers[name]; ok {
		return number, nil
	}
	var text nodeName
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&text.Text)), len(text.Text)-1), name)
	for {
		number := n.next
		n.next++
		if _, taken := n.texts[number]; taken || number == 0 {
			continue
		}
		if err := n.table.Put(number, text); err != nil {
			return 0, fmt.Errorf("number %s: %w", name, err)
		}
		n.numbers[name], n.texts[number] = number, name
		return number, nil
	}
}

// hold says that an entry of a map has the number.
func (n *names) hold(number uint32) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.holders[number]++
}

// release takes a hold back; the last one forgets the name. Its number is not
// used again before all others were.
func (n *names) release(number uint32) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.holders[number]--; n.holders[number] > 0 {
		return nil
	}
	delete(n.holders, number)
	if err := remove(n.table, number); err != nil {
		return fmt.Errorf("forget the name %s: %w", n.texts[number], err)
	}
	delete(n.numbers, n.texts[number])
	delete(n.texts, number)
	return nil
}

// remove deletes an entry that may be missing.
func remove(m *ebpf.Map, key any) error {
	if err := m.Delete(key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return err
	}
	return nil
}
