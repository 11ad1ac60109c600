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
	go lastOnThread(func() {
		if err := unix.Setns(int(netns.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("enter network namespace %s: %w", netns.Name(), err)
			return
		}
		done <- f()
	})
	return <-done
}

// lastOnThread runs f on a thread that ends with this goroutine, so that
// nothing else ever runs in a namespace by mistake. It is never the process's
// first thread, which would not end: the kernel shows its namespace as the
// process's, and whoever enters the process (nsenter, kubectl exec) would get
// to a pod.
func lastOnThread(f func()) {
	runtime.LockOSThread() // and never unlocked
	if unix.Gettid() != unix.Getpid() {
		f()
		return
	}
	defer runtime.UnlockOSThread()
	done := make(chan struct{})
	go func() {
		defer close(done)
		lastOnThread(f) // this thread is taken, so it is another one
	}()
	<-done
}
