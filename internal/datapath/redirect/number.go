package redirect

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// numbers is PROXIES of bpf/maps.h: logical numbers are below it.
const numbers = 5000

// ErrPortsExhausted says that every logical number is given away, or its
// port taken by another process of the node.
var ErrPortsExhausted = errors.New("no port is left for another proxy listener")

// Numbers gives Envoy's listeners their logical numbers k. They are kept in a
// file, so that a restarted agent gives each the same.
type Numbers struct {
	path string

	mu   sync.Mutex
	next uint16
	by   map[string]uint16
	used map[uint16]bool
}

// OpenNumbers reads the file, which need not exist.
func OpenNumbers(path string) (*Numbers, error) {
	n := &Numbers{path: path, next: 1, by: map[string]uint16{}, used: map[uint16]bool{}}
	text, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("read the numbers of proxy listeners: %w", err)
	}
	for i, line := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") {
		number, name, ok := strings.Cut(line, " ")
		if line == "" {
			continue
		}
		k, err := strconv.ParseUint(number, 10, 16)
		if !ok || err != nil || k == 0 || k >= numbers || n.used[uint16(k)] {
			return nil, fmt.Errorf("read the numbers of proxy listeners: line %d of %s is none: %q", i+1, path, line)
		}
		n.by[name], n.used[uint16(k)] = uint16(k), true
		n.next = max(n.next, uint16(k)%(numbers-1)+1)
	}
	return n, nil
}

// Known are all that were given and not taken back, by this process or one
// before it.
func (n *Numbers) Known() map[string]uint16 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return maps.Clone(n.by)
}

// Assign gives each of the names a number, the one it has if it has one, and
// takes back the numbers of all other names. Where there are too few, the names
// that come first have them. A number that was taken back is
// the last to be given again: connections to its listener may still begin.
// taken tells which ports processes of the node listen on, other than Envoy.
// Names that get none are missing in the result, with ErrPortsExhausted.
func (n *Numbers) Assign(names []string, taken func(port uint16) bool) (map[string]uint16, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	changed := n.takeBack(slices.Sorted(slices.Values(names)))
	var exhausted error
	for _, name := range names {
		if n.by[name] != 0 {
			continue
		}
		k := n.free(taken)
		if k == 0 {
			exhausted = ErrPortsExhausted
			continue
		}
		n.by[name], n.used[k], changed = k, true, true
	}
	out := make(map[string]uint16, len(n.by))
	for name, k := range n.by {
		out[name] = k
	}
	if changed {
		if err := n.save(); err != nil {
			return nil, err
		}
	}
	return out, exhausted
}

func (n *Numbers) takeBack(kept []string) (changed bool) {
	for name, k := range n.by {
		if _, ok := slices.BinarySearch(kept, name); !ok {
			delete(n.by, name)
			delete(n.used, k)
			changed = true
		}
	}
	return changed
}

// free finds the next number of which nobody has a port; 0: none.
func (n *Numbers) free(taken func(port uint16) bool) uint16 {
	for range numbers {
		k := n.next
		if n.next++; n.next == numbers {
			n.next = 1
		}
		if !n.used[k] && !taken(Bases[0]+k) && !taken(Bases[1]+k) {
			return k
		}
	}
	return 0
}

func (n *Numbers) save() error {
	var text bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(n.by)) {
		fmt.Fprintf(&text, "%d %s\n", n.by[name], name)
	}
	fresh := n.path + ".new"
	if err := os.WriteFile(fresh, text.Bytes(), 0o600); err != nil {
		return fmt.Errorf("keep the numbers of proxy listeners: %w", err)
	}
	if err := os.Rename(fresh, n.path); err != nil {
		return fmt.Errorf("keep the numbers of proxy listeners: %w", err)
	}
	return nil
}

// ListeningPorts gives the TCP ports that processes of the current network
// namespace listen on, without those of Envoy's listeners.
func (p *Proxy) ListeningPorts() (map[uint16]bool, error) {
	out := map[uint16]bool{}
	for _, file := range []string{"tcp", "tcp6"} {
		text, err := os.ReadFile(filepath.Join("/proc/thread-self/net", file))
		if err != nil {
			return nil, fmt.Errorf("list listening sockets: %w", err)
		}
		for s := bufio.NewScanner(bytes.NewReader(text)); s.Scan(); {
			field := strings.Fields(s.Text())
			if len(field) < 4 || field[3] != "0A" { // TCP_LISTEN
				continue
			}
			_, hex, _ := strings.Cut(field[1], ":")
			if port, err := strconv.ParseUint(hex, 16, 16); err == nil {
				out[uint16(port)] = true
			}
		}
	}
	keys, err := p.listenerKeys()
	for _, key := range keys {
		delete(out, key.Port)
	}
	return out, err
}
