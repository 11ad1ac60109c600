package envoy

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// WithoutPidfd makes this kernel an old one, for the test.
func WithoutPidfd(t *testing.T) {
	open := pidfdOpen
	pidfdOpen = func(int, int) (int, error) { return -1, unix.ENOSYS }
	t.Cleanup(func() { pidfdOpen = open })
}

// WithStartPatience gives Envoy less time to answer, for the test.
func WithStartPatience(t *testing.T, d time.Duration) {
	before := startPatience
	startPatience = d
	t.Cleanup(func() { startPatience = before })
}
