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

// cookieOf names a network namespace as BPF programs see it.
func cookieOf(netns *os.File) (cookie uint64, err error) {
	err = within(netns, func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("open a socket in %s: %w", netns.Name(), err)
		}
		defer unix.Close(fd)
		if cookie, err = unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE); err != nil {
			return fmt.Errorf("ask %s for its cookie: %w", netns.Name(), err)
		}
		return nil
	})
	return cookie, err
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
