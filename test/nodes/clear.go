package nodes

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// groundsDir holds a directory per ground.
const groundsDir = "/run/waggle-test"

var groundName = regexp.MustCompile(`^waggle(\d+)-\d+`)

// cgroup2 finds where the unified hierarchy is mounted.
func cgroup2() (string, error) {
	f, err := os.Open("/proc/mounts")
	if err != nil {
		return "", err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if field := strings.Fields(s.Text()); len(field) > 2 && field[2] == "cgroup2" {
			return field[1], nil
		}
	}
	return "", errors.New("no cgroup2 file system is mounted")
}

// clearLeftovers removes the grounds of processes that are gone.
func clearLeftovers() error {
	cgroup, err := cgroup2()
	if err != nil {
		return err
	}
	var errs []error
	done := map[string]bool{}
	for _, dir := range []string{groundsDir, namespaces, cgroup} {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			m := groundName.FindStringSubmatch(e.Name())
			if m == nil || done[m[0]] || alive(m[1]) {
				continue
			}
			done[m[0]] = true
			errs = append(errs, clearGround(m[0]))
		}
	}
	return errors.Join(errs...)
}

func alive(pid string) bool {
	n, err := strconv.Atoi(pid)
	return err == nil && unix.Kill(n, 0) == nil
}

// clearGround removes a ground's processes, namespaces, mounts and files.
func clearGround(prefix string) error {
	cgroup, err := cgroup2()
	if err != nil {
		return err
	}
	errs := []error{removeCgroup(filepath.Join(cgroup, prefix))}
	entries, _ := os.ReadDir(namespaces)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix+"-") {
			errs = append(errs, removeNamespace(e.Name()))
		}
	}
	dir := filepath.Join(groundsDir, prefix)
	mounts, _ := filepath.Glob(filepath.Join(dir, "*", "bpf"))
	for _, m := range mounts {
		if err := unix.Unmount(m, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
			errs = append(errs, fmt.Errorf("unmount %s: %w", m, err))
		}
	}
	return errors.Join(append(errs, os.RemoveAll(dir))...)
}

// removeNamespace removes one that another process may be at, too.
func removeNamespace(name string) error {
	err := netns.DeleteNamed(name)
	if errors.Is(err, unix.EINVAL) { // unmounted by the other
		err = os.Remove(filepath.Join(namespaces, name))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// removeCgroup kills what lives in a cgroup and removes it.
func removeCgroup(dir string) error {
	if err := os.WriteFile(filepath.Join(dir, "cgroup.kill"), []byte("1"), 0); err != nil {
		if os.IsNotExist(err) {
			return nil
		}
		return fmt.Errorf("end the processes of %s: %w", dir, err)
	}
	var err error
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if err = removeDirs(dir); err == nil || os.IsNotExist(err) {
			return nil
		}
	}
	return fmt.Errorf("remove cgroup %s: %w", dir, err)
}

// removeDirs removes directories alone: the files of a cgroup cannot be.
func removeDirs(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeDirs(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return unix.Rmdir(dir)
}
