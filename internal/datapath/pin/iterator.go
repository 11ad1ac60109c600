package pin

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// Iterate pins an iterator over a map's entries at path, in the place of an
// earlier one.
func Iterate(path string, program *ebpf.Program, m *ebpf.Map) error {
	l, err := link.AttachIter(link.IterOptions{Program: program, Map: m})
	if err != nil {
		return fmt.Errorf("attach the iterator %s: %w", path, err)
	}
	defer l.Close()
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the earlier iterator: %w", err)
	}
	if err := l.Pin(path); err != nil {
		return fmt.Errorf("pin iterator %s: %w", path, err)
	}
	return nil
}

// Read runs an iterator that writes a V for each entry.
func Read[V any](path string) ([]V, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open iterator: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(f)
	if err != nil {
		return nil, fmt.Errorf("run iterator %s: %w", path, err)
	}
	if len(text) == 0 {
		return nil, nil
	}
	var v V
	return unsafe.Slice((*V)(unsafe.Pointer(&text[0])), len(text)/int(unsafe.Sizeof(v))), nil
}
