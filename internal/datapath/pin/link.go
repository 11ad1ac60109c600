package pin

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// Attach replaces the program of the link that is pinned at path. If there is
// none, or what it was attached to is gone, it pins what attach makes.
func Attach(path string, program *ebpf.Program, attach func(*ebpf.Program) (link.Link, error)) error {
	if done, err := Replace(path, program); done || err != nil {
		return err
	}
	l, err := attach(program)
	if err != nil {
		return err
	}
	defer l.Close()
	if err := l.Pin(path); err != nil {
		return fmt.Errorf("pin link %s: %w", path, err)
	}
	return nil
}

// AttachDevice is Attach for a tcx hook of a device, by its index in this
// thread's network namespace.
func AttachDevice(path string, index int, program *ebpf.Program, at ebpf.AttachType) error {
	err := Attach(path, program, func(program *ebpf.Program) (link.Link, error) {
		return link.AttachTCX(link.TCXOptions{Interface: index, Program: program, Attach: at})
	})
	if errors.Is(err, ebpf.ErrNotSupported) {
		return fmt.Errorf("the kernel has no tcx (CONFIG_NET_XGRESS): %w", err)
	}
	return err
}

// AttachCgroup is Attach for a hook of the cgroup in a folder.
func AttachCgroup(path, folder string, program *ebpf.Program, at ebpf.AttachType) error {
	return Attach(path, program, func(program *ebpf.Program) (link.Link, error) {
		return link.AttachCgroup(link.CgroupOptions{Path: folder, Attach: at, Program: program})
	})
}

// Replace puts a program in the place of what a pinned link holds. done is
// false if there is no such link, or its target is gone.
func Replace(path string, program *ebpf.Program) (done bool, err error) {
	l, err := link.LoadPinnedLink(path, nil)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("open link %s: %w", path, err)
	}
	defer l.Close()
	if err = l.Update(program); err == nil {
		return true, nil
	}
	if !errors.Is(err, unix.ENOLINK) {
		return false, fmt.Errorf("replace program of link %s: %w", path, err)
	}
	return false, l.Unpin()
}

// DetachAll ends all links below a folder. A link whose pin is removed ends too,
// but only a while later.
func DetachAll(root string) error {
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || entry.IsDir() {
			return err
		}
		l, err := link.LoadPinnedLink(path, nil)
		if err != nil {
			return nil // a map, or a program
		}
		defer l.Close()
		if err := l.Detach(); err != nil && !errors.Is(err, ebpf.ErrNotSupported) && !errors.Is(err, unix.ENOLINK) {
			return fmt.Errorf("detach %s: %w", path, err)
		}
		return nil
	})
}
