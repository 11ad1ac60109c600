package envoy

import (
	"testing"

	"golang.org/x/sys/unix"
)

// WithoutPidfd makes this kernel an old one, for the test.
func WithoutPidfd(t *testing.T) {
	open := pidfdOpen
	pidfdOpen = func(int, int) (int, error) { return -1, unix.ENOSYS }
	t.Cleanup(func() { pidfdOpen = open })
}
