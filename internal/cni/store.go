package cni

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/waggle-mesh/waggle/internal/model"
)

// attachment is a pod's device as its file has it. The file is there before
// anything is made, and until everything is gone.
type attachment struct {
	model.PodEndpoint
	Ready bool // everything is made, and the runtime was about to be told
}

func (a attachment) key() string { return attachmentKey(a.Container, a.PodDevice) }

// store is the folder of the attachments' files, written whole and renamed. A
// file cannot be torn by the end of a process. One that a power cut has torn
// is of a pod that the cut has ended; it counts as none.
type store struct {
	dir  string
	lock *os.File
}

const (
	attachmentSuffix = ".json"
	releasedFile     = "released"
)

// openStore waits until no other process has the store.
func openStore(ctx context.Context, dir string) (*store, error) {
	if err := os.MkdirAll(filepath.Join(dir, "pods"), 0o700); err != nil {
		return nil, fmt.Errorf("make state directory: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open state directory: %w", err)
	}
	for {
		err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return &store{dir: dir, lock: lock}, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			lock.Close()
			return nil, fmt.Errorf("lock state directory %s: %w", dir, err)
		}
		select {
		case <-ctx.Done():
			lock.Close()
			return nil, fmt.Errorf("lock state directory %s, which another agent uses: %w", dir, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (s *store) close() { s.lock.Close() }

func (s *store) file(key string) string { return filepath.Join(s.dir, "pods", key+attachmentSuffix) }

func (s *store) write(a attachment) error {
	text, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("encode endpoint of %s: %w", a.Pod, err)
	}
	return replaceFile(s.file(a.key()), text, 0o600)
}

func (s *store) remove(key string) error {
	if err := os.Remove(s.file(key)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget endpoint: %w", err)
	}
	return nil
}

// read gives all attachments, and what is wrong with files that are none;
// those are removed.
func (s *store) read() (all []attachment, broken []error, err error) {
	dir := filepath.Join(s.dir, "pods")
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("read endpoints: %w", err)
	}
	for _, f := range files {
		path := filepath.Join(dir, f.Name())
		a, err := readAttachment(path)
		if err == nil {
			all = append(all, a)
			continue
		}
		if !strings.HasPrefix(f.Name(), ".") {
			broken = append(broken, fmt.Errorf("read endpoint %s: %w", f.Name(), err))
		}
		if err := os.Remove(path); err != nil {
			return nil, nil, fmt.Errorf("remove broken endpoint: %w", err)
		}
	}
	return all, broken, nil
}

func readAttachment(path string) (a attachment, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return a, err
	}
	if err := json.Unmarshal(text, &a); err != nil {
		return a, err
	}
	if a.ID == 0 || a.key()+attachmentSuffix != filepath.Base(path) {
		return a, fmt.Errorf("of %q and endpoint %d", a.key(), a.ID)
	}
	return a, nil
}

// writeReleased keeps the order in which addresses are used again. It is worth
// little: that it cannot be written or read back is not told.
func (s *store) writeReleased(addresses []netip.Addr) {
	if text, err := json.Marshal(addresses); err == nil {
		_ = replaceFile(filepath.Join(s.dir, releasedFile), text, 0o600)
	}
}

func (s *store) readReleased() (addresses []netip.Addr) {
	text, err := os.ReadFile(filepath.Join(s.dir, releasedFile))
	if err != nil || json.Unmarshal(text, &addresses) != nil {
		return nil
	}
	return slices.DeleteFunc(addresses, func(a netip.Addr) bool { return !a.IsValid() })
}

// replaceFile writes a file that is there whole or as it was. Its temporary
// name starts with a dot.
func replaceFile(path string, text []byte, mode os.FileMode) error {
	dir, name := filepath.Split(path)
	file, err := os.CreateTemp(dir, "."+name+"-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = file.Write(text)
	if err == nil {
		err = file.Chmod(mode)
	}
	err = errors.Join(err, file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		os.Remove(file.Name())
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
