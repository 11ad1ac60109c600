package load

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// System calls as they are: the runtime is not told, for there is no other
// goroutine to run meanwhile.

// again is what read and write give for a socket that has nothing yet.
const again = -int(unix.EAGAIN)

// read gives the number of bytes, or the error's number below zero.
func read(fd int, b []byte) int {
	for {
		n, _, e := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
		if e == 0 {
			return int(n)
		}
		if e != unix.EINTR {
			return -int(e)
		}
	}
}

func write(fd int, b []byte) int {
	for {
		n, _, e := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
		if e == 0 {
			return int(n)
		}
		if e != unix.EINTR {
			return -int(e)
		}
	}
}

func accept(fd int) int {
	n, _, e := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(fd), 0, 0, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0, 0)
	if e != 0 {
		return -int(e)
	}
	return int(n)
}

// wait waits for events without end.
func wait(epoll int, events []unix.EpollEvent) (int, error) {
	for {
		n, _, e := unix.RawSyscall6(unix.SYS_EPOLL_WAIT, uintptr(epoll), uintptr(unsafe.Pointer(unsafe.SliceData(events))),
			uintptr(len(events)), patience, 0, 0)
		if e == 0 {
			return int(n), nil
		}
		if e != unix.EINTR {
			return 0, fmt.Errorf("wait for events: %w", e)
		}
	}
}

// patience is how long a wait lasts at most, in ms.
const patience = 5000
