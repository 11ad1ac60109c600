package link

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestCannotDestroy: a kernel that cannot end sockets is told of at the start.
func TestCannotDestroy(t *testing.T) {
	before := sendDestroy
	t.Cleanup(func() { sendDestroy = before })
	for errno, refused := range map[unix.Errno]bool{unix.EOPNOTSUPP: true, unix.ENOENT: false} {
		sendDestroy = func(diagRequest) error { return errno }
		err := canDestroy()
		if errors.Is(err, errno) != refused || refused && !strings.Contains(err.Error(), "CONFIG_INET_DIAG_DESTROY") {
			t.Errorf("where it answers %v: %v", errno, err)
		}
	}
	sendDestroy = before
	if err := canDestroy(); err != nil {
		t.Errorf("this kernel: %v", err)
	}
	sendDestroy = func(diagRequest) error { return unix.EOPNOTSUPP }
	if n, err := Open(Options{Routers: []netip.Addr{netip.MustParseAddr("10.9.1.1")}}); err == nil {
		n.Close()
		t.Error("a node whose kernel lacks it is opened")
	} else if !errors.Is(err, unix.EOPNOTSUPP) {
		t.Error(err)
	}
}
