package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/waggle-mesh/waggle/internal/datapath"
	"github.com/waggle-mesh/waggle/internal/link"
)

// Cleanup takes every trace of an agent from the node, whatever of it is
// there. While an agent runs it refuses.
func Cleanup(o Options) error {
	if _, err := os.Stat(o.StateDir); err == nil {
		brief, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		holder := ""
		held, err := lock(brief, o.lock(), func(pid string) { holder = pid })
		if holder != "" && err != nil {
			return fmt.Errorf("an agent runs on this node, pid %s: delete its DaemonSet first", holder)
		}
		if err != nil {
			return err
		}
		defer held.Close()
	}
	return errors.Join(o.CNI.Uninstall(), link.Remove(nil), datapath.Cleanup(o.BPFFS), empty(o.StateDir))
}

// empty removes what is in a directory, and the directory unless something is
// mounted there.
func empty(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	if failed := os.Remove(dir); failed != nil && !errors.Is(failed, unix.EBUSY) {
		err = errors.Join(err, failed)
	}
	return err
}
