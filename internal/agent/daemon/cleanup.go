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

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
	"github.com/waggle-mesh/waggle/internal/agent/announcer"
	"github.com/waggle-mesh/waggle/internal/datapath"
	"github.com/waggle-mesh/waggle/internal/kube"
	"github.com/waggle-mesh/waggle/internal/link"
	"github.com/waggle-mesh/waggle/internal/model"
)

// Cleanup takes every trace of an agent from the node, whatever of it is
// there, and, if Node is set, from the API server. While an agent runs it
// refuses. A StateDir that has something in it but not an agent's lock is
// somebody else's, and left alone with an error.
func Cleanup(o Options) error {
	_, err := os.Stat(o.lock())
	ours := err == nil
	if ours {
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
	err = errors.Join(o.CNI.Uninstall(), link.Remove(nil, o.sysctls()), announcer.Stop(o.BPFFS), datapath.Cleanup(o.BPFFS), o.removeLasting(), o.removeState(ours))
	if o.Node != "" {
		err = errors.Join(err, o.forget())
	}
	return err
}

// forgetPatience is how long the API server may take.
const forgetPatience = 20 * time.Second

// forget takes back what the node's agent has written to the API server: the
// CiliumEndpoints of the node's pods and the annotations of its object. What
// else there is, others need or collect.
func (o Options) forget() error {
	client, err := kube.Connect(o.Kube, o.Log)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), forgetPatience)
	defer cancel()
	name := model.Name{Name: o.Node}
	self, err := kube.Get(ctx, client, kube.Nodes, name)
	if errors.Is(err, kube.ErrNotFound) {
		return nil // its endpoints end with their pods
	}
	if err != nil {
		return err
	}
	return errors.Join(
		kube.DeleteAll(ctx, client, kube.Endpoints, "", func(e *ciliumv2.CiliumEndpoint) bool { return isOf(self, e) }),
		forgetNode(ctx, client, self))
}

// removeLasting removes what agents keep in LastingDir, and the directory unless
// there is more in it or something is mounted there.
func (o Options) removeLasting() error {
	if err := os.RemoveAll(o.configs()); err != nil {
		return err
	}
	if err := os.Remove(o.LastingDir); !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, unix.EBUSY) {
		return err
	}
	return nil
}

// removeState removes what is in StateDir if that is an agent's, and the
// directory unless something is mounted there.
func (o Options) removeState(ours bool) error {
	entries, err := os.ReadDir(o.StateDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if !ours && len(entries) > 0 {
		return fmt.Errorf("%s is left as it is: no agent has had it (there is no %s)", o.StateDir, filepath.Base(o.lock()))
	}
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(o.StateDir, e.Name())))
	}
	if failed := os.Remove(o.StateDir); failed != nil && !errors.Is(failed, unix.EBUSY) {
		err = errors.Join(err, failed)
	}
	return err
}
