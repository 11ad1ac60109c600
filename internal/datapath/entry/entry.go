// Package entry writes, removes and counts entries of BPF maps.
package entry

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// Put writes an entry. That a map is full the kernel calls "argument list too
// long" or "no space left on device", which sends nobody to the right place.
func Put(m *ebpf.Map, key, value any) error {
	err := m.Put(key, value)
	if errors.Is(err, unix.E2BIG) || errors.Is(err, unix.ENOSPC) {
		return fmt.Errorf("the map is full with %d entries: %w", m.MaxEntries(), err)
	}
	return err
}

// Remove deletes an entry that may be missing.
func Remove(m *ebpf.Map, key any) error {
	if err := m.Delete(key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return err
	}
	return nil
}

// Count walks the keys. A map that changes meanwhile may lead the walk back to
// its beginning; so it ends at the map's size.
func Count(m *ebpf.Map) (int, error) {
	key, next := []byte(nil), make([]byte, m.KeySize())
	n := 0
	for ; n < int(m.MaxEntries()); n++ {
		var err error
		if key == nil {
			err = m.NextKey(nil, next)
		} else {
			err = m.NextKey(key, next)
		}
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		key = append(key[:0], next...)
	}
	return n, nil
}

// SetOf is a set of rows' keys.
func SetOf(keys []string) map[string]bool {
	set := make(map[string]bool, len(keys))
	for _, key := range keys {
		set[key] = true
	}
	return set
}
