package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/waggle-mesh/waggle/sandbox/internal/cgroup"
	"github.com/waggle-mesh/waggle/sandbox/internal/plan"
	"github.com/waggle-mesh/waggle/sandbox/internal/wire"
)

// Down ends and removes all of a sandbox, however much of it there is, and
// checks that nothing is left. The cache stays. A sandbox of the same name in
// another folder, somebody else's for all we know, is an error and not touched.
func Down(name, dir string) error {
	if old, err := plan.Load(dir); err == nil { // it may have been started under another name
		name = old.Name
	}
	if err := CheckName(name, dir); err != nil {
		return err
	}
	if err := Kill(dir); err != nil {
		return err
	}
	if err := wire.RemoveHostLink((&plan.Plan{Name: name}).Link()); err != nil {
		return err
	}
	if err := cgroup.Remove(name, ""); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	if strings.Contains(string(b), dir+"/") {
		return fmt.Errorf("a mount was left under %s", dir)
	}
	return nil
}

// Lock keeps two commands off one sandbox. It ends with the process at the
// latest: the name is the kernel's, not a file's. waiting is called once if
// somebody else holds it.
func Lock(ctx context.Context, dir string, waiting func()) (unlock func(), err error) {
	for told := false; ; {
		l, err := net.Listen("unix", "@sandbox"+dir)
		if err == nil {
			return func() { l.Close() }, nil
		}
		if !told {
			waiting()
			told = true
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(errors.New("another sandbox command is at work"), context.Cause(ctx))
		case <-time.After(50 * time.Millisecond):
		}
	}
}
