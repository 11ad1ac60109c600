package pin

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cilium/ebpf"
)

// Map is a map that outlives the programs that use it, whatever else changes:
// each is pinned in a folder by its name, version and shape. Versions tell
// apart what maps of one shape mean.
type Map struct {
	*ebpf.Map
	Name string
	Path string // of the pin
	// Before are the pins of the same name with another version or shape,
	// which earlier programs use.
	Before []string

	adopted map[string]bool // keys
}

// Open takes over the map of a name, version and shape, or makes it.
func Open(folder string, version int, spec *ebpf.MapSpec) (*Map, error) {
	m := &Map{Name: spec.Name, Path: filepath.Join(folder, fileName(spec, version))}
	others, err := filepath.Glob(filepath.Join(folder, spec.Name+"-*"))
	if err != nil {
		return nil, fmt.Errorf("list pinned maps: %w", err)
	}
	for _, path := range others {
		if path != m.Path {
			m.Before = append(m.Before, path)
		}
	}
	m.Map, err = ebpf.LoadPinnedMap(m.Path, nil)
	if err == nil {
		return m, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("open map %s: %w", m.Path, err)
	}
	if m.Map, err = ebpf.NewMap(spec); err != nil {
		return nil, fmt.Errorf("make map %s: %w", spec.Name, err)
	}
	if err := m.Pin(m.Path); err != nil {
		m.Close()
		return nil, fmt.Errorf("pin map %s: %w", m.Path, err)
	}
	return m, nil
}

func fileName(spec *ebpf.MapSpec, version int) string {
	sum := sha256.New()
	fmt.Fprintln(sum, spec.Type, spec.KeySize, spec.ValueSize, spec.MaxEntries, spec.Flags)
	return fmt.Sprintf("%s-%d-%x", spec.Name, version, sum.Sum(nil)[:4])
}

// NameOf is the name of the map that is pinned at a path.
func NameOf(path string) string {
	name, _, _ := strings.Cut(filepath.Base(path), "-")
	return name
}

// Adopt copies what the maps before have, if the version and the sizes of keys
// and values are the same. It may be called again, for what programs have added
// meanwhile: that holds, whatever those of this map made of its later packets.
func (m *Map) Adopt() error {
	if m.adopted == nil {
		m.adopted = map[string]bool{}
	}
	prefix := m.Path[:strings.LastIndexByte(m.Path, '-')+1]
	for _, path := range m.Before {
		if !strings.HasPrefix(path, prefix) {
			continue
		}
		old, err := ebpf.LoadPinnedMap(path, nil)
		if err != nil {
			return fmt.Errorf("open map %s: %w", path, err)
		}
		err = m.adopt(old)
		old.Close()
		if err != nil {
			return fmt.Errorf("copy map %s: %w", path, err)
		}
	}
	return nil
}

func (m *Map) adopt(old *ebpf.Map) error {
	if t := old.Type(); t != m.Type() || t != ebpf.Hash && t != ebpf.LRUHash || old.KeySize() != m.KeySize() || old.ValueSize() != m.ValueSize() {
		return nil
	}
	var key, value []byte
	entries := old.Iterate()
	for entries.Next(&key, &value) {
		if m.adopted[string(key)] {
			continue
		}
		if err := m.Put(key, value); err != nil {
			return err
		}
		m.adopted[string(key)] = true
	}
	if err := entries.Err(); err != nil && !errors.Is(err, ebpf.ErrIterationAborted) { // it changes meanwhile
		return err
	}
	return nil
}

// Forget removes the maps before: nobody uses them any more.
func (m *Map) Forget() error {
	var errs []error
	for _, path := range m.Before {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, fmt.Errorf("remove map %s: %w", path, err))
		}
	}
	m.Before, m.adopted = nil, nil
	return errors.Join(errs...)
}

// ByAge orders pins, the oldest first.
func ByAge(a, b string) int { return modified(a).Compare(modified(b)) }

func modified(path string) time.Time {
	info, err := os.Stat(path)
	if err != nil {
		return time.Time{} // it has gone since it was listed
	}
	return info.ModTime()
}
