package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

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
	return errors.Join(o.CNI.Uninstall(), link.Remove(nil), datapath.Cleanup(o.BPFFS), os.RemoveAll(o.StateDir))
}
