package proxy

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/waggle-mesh/waggle/internal/render"
)

// ExecOptions say which Envoy to become.
type ExecOptions struct {
	Binary string // path of the stock Envoy
	Node   string // the name of the node's object
	// Dir is for this Envoy alone: its bootstrap and its admin socket. It is
	// made if need be.
	Dir string
	// XDSSocket is the agent's.
	XDSSocket   string
	Concurrency int    // worker threads; 0: as many as the cgroup has CPUs
	HeapBytes   uint64 // at which Envoy defends itself; 0: nine tenths of the cgroup's memory
	LogLevel    string // Envoy's word
	// UID is the user to become, who keeps nothing but CAP_NET_ADMIN: for
	// marks, and to answer from addresses that are not the node's. 0: nobody
	// else.
	UID int
	// Keeper is a command that is put before Envoy's own, see Keep. Empty: this
	// process becomes Envoy itself.
	Keeper []string
}

// Exec makes this process the Envoy of a node, in the cgroup where it is. It
// returns only errors.
func Exec(o ExecOptions) error {
	if o.Concurrency == 0 {
		o.Concurrency = runtime.GOMAXPROCS(0) // which Go takes from the cgroup
	}
	if o.HeapBytes == 0 {
		o.HeapBytes = memoryLimit() / 10 * 9
	}
	bootstrap, err := o.prepare()
	if err != nil {
		return err
	}
	if o.UID != 0 {
		runtime.LockOSThread() // it is this thread that becomes Envoy
		if err := become(o.UID); err != nil {
			return fmt.Errorf("become user %d: %w", o.UID, err)
		}
	}
	args := append(slices.Clone(o.Keeper),
		o.Binary, "-c", bootstrap, "--concurrency", strconv.Itoa(o.Concurrency), "--disable-hot-restart",
		"--drain-time-s", strconv.Itoa(int(DrainTime.Seconds())), "-l", o.LogLevel,
		// A client's own address fits one family of a backend's addresses:
		// that it does not fit the other is nothing to be told of each time.
		"--component-log-level", "connection:error",
	)
	if err := unix.Exec(args[0], args, os.Environ()); err != nil {
		return fmt.Errorf("run %s: %w", args[0], err)
	}
	return nil
}

// prepare makes Envoy's directory, with a bootstrap and without what an Envoy
// that was killed has left there. A container's root may not pass over others'
// permissions: first the directory must be its own again.
func (o ExecOptions) prepare() (bootstrap string, err error) {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return "", fmt.Errorf("make Envoy's directory: %w", err)
	}
	if err := os.Chown(o.Dir, os.Geteuid(), os.Getegid()); err != nil {
		return "", fmt.Errorf("take Envoy's directory: %w", err)
	}
	bootstrap = filepath.Join(o.Dir, Bootstrap)
	for _, path := range []string{bootstrap, filepath.Join(o.Dir, Admin)} {
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			return "", fmt.Errorf("remove what an earlier Envoy has left: %w", err)
		}
	}
	err = os.WriteFile(bootstrap, render.Bootstrap(render.BootstrapOptions{
		NodeID: o.Node, AdminSocket: filepath.Join(o.Dir, Admin), XDSSocket: o.XDSSocket, HeapBytes: o.HeapBytes,
	}), 0o600)
	if err != nil {
		return "", fmt.Errorf("write Envoy's bootstrap: %w", err)
	}
	if o.UID != 0 {
		if err := errors.Join(os.Chown(bootstrap, o.UID, o.UID), os.Chown(o.Dir, o.UID, o.UID)); err != nil {
			return "", fmt.Errorf("give Envoy its directory: %w", err)
		}
	}
	return bootstrap, nil
}

// memoryLimit is that of this process's cgroup; 0: none. The container's root
// is its own cgroup.
func memoryLimit() uint64 {
	text, err := os.ReadFile("/sys/fs/cgroup/memory.max")
	if err != nil {
		return 0
	}
	limit, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if err != nil { // "max"
		return 0
	}
	return limit
}

// become changes this thread's user and keeps CAP_NET_ADMIN, also after exec.
func become(uid int) error {
	if err := unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("keep capabilities: %w", err)
	}
	id := uintptr(uid)
	// The raw calls are this thread's; Go's would change all of them.
	if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0); errno != 0 {
		return fmt.Errorf("leave groups: %w", errno)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESGID, id, id, id); errno != 0 {
		return fmt.Errorf("change group: %w", errno)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, id, id, id); errno != 0 {
		return fmt.Errorf("change user: %w", errno)
	}
	const netAdmin = 1 << unix.CAP_NET_ADMIN
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := [2]unix.CapUserData{{Effective: netAdmin, Permitted: netAdmin, Inheritable: netAdmin}}
	if _, _, errno := unix.RawSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data[0])), 0); errno != 0 {
		return fmt.Errorf("drop capabilities: %w", errno)
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, unix.CAP_NET_ADMIN, 0, 0); err != nil {
		return fmt.Errorf("keep CAP_NET_ADMIN: %w", err)
	}
	return nil
}

// BecomeOwner makes this process that of the user whom a directory belongs to:
// Envoy's own, which a container's root without CAP_DAC_OVERRIDE may not enter.
func BecomeOwner(dir string) error {
	var s unix.Stat_t
	if err := unix.Stat(dir, &s); err != nil {
		return fmt.Errorf("find whose %s is: %w", dir, err)
	}
	if int(s.Uid) == os.Geteuid() {
		return nil
	}
	if err := syscall.Setuid(int(s.Uid)); err != nil {
		return fmt.Errorf("become user %d, whose %s is: %w", s.Uid, dir, err)
	}
	return nil
}
