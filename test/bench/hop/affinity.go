package hop

import (
	"fmt"
	"path/filepath"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// Where things run: the proxy has the first core for itself, what is around
// it the second. Without that the scheduler moves three busy threads over
// two cores, and a figure says mostly where it happened to put them.
const (
	proxyCore = 0
	otherCore = 1
)

// pin keeps all threads of processes on a core. On a machine of one core
// there is nothing to choose.
func pin(core int, pids ...int) error {
	if runtime.NumCPU() < 2 {
		return nil
	}
	var set unix.CPUSet
	set.Set(core)
	for _, pid := range pids {
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
		if err != nil || len(tasks) == 0 {
			return fmt.Errorf("pin process %d: it is gone", pid)
		}
		for _, task := range tasks {
			tid, err := strconv.Atoi(filepath.Base(task))
			if err != nil {
				return err
			}
			if err := unix.SchedSetaffinity(tid, &set); err != nil {
				return fmt.Errorf("pin thread %d: %w", tid, err)
			}
		}
	}
	return nil
}

// onOtherCore runs f on a thread that ends with it: what is started later
// must not inherit the core.
func onOtherCore(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for good
		done <- func() error {
			if err := pinThread(otherCore); err != nil {
				return err
			}
			return f()
		}()
	}()
	return <-done
}

func pinThread(core int) error {
	if runtime.NumCPU() < 2 {
		return nil
	}
	var set unix.CPUSet
	set.Set(core)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("pin the load: %w", err)
	}
	return nil
}
