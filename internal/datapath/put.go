package datapath

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// put writes an entry. That a map is full the kernel calls "argument list too
// long" or "no space left on device", which sends nobody to the right place.
func put(m *ebpf.Map, key, value any) error {
	err := m.Put(key, value)
	if errors.Is(err, unix.E2BIG) || errors.Is(err, unix.ENOSPC) {
		return fmt.Errorf("the map is full with %d entries: %w", m.MaxEntries(), err)
	}
	return err
}
