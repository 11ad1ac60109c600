package link

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// within runs f on a thread that is in the network namespace; nil is the
// process's own, which needs no thread.
func within(netns *os.File, f func() error) error {
	if netns == nil {
		return f()
	}
	done := make(chan error, 1)
	go func() {
		// The thread is not unlocked, so it ends with this goroutine, and
		// nothing else ever runs in a namespace by mistake.
		runtime.LockOSThread()
		if err := unix.Setns(int(netns.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("enter network namespace %s: %w", netns.Name(), err)
			return
		}
		done <- f()
	}()
	return <-done
}
