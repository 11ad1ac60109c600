package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netns"
)

// Who asks while the server ends is answered or refused, and never waits in vain.
func TestEnd(t *testing.T) {
	if os.Getenv("ECHOSERVER") != "" {
		os.Args = os.Args[:1]
		main()
		os.Exit(0)
	}
	machines := [2]string{fmt.Sprintf("echo-client-%d", os.Getpid()), fmt.Sprintf("echo-server-%d", os.Getpid())}
	for i, m := range machines {
		ip(t, "netns add "+m)
		t.Cleanup(func() { ip(t, "netns del "+m) })
		if i == 1 {
			ip(t, "-n "+machines[0]+" link add eth0 type veth peer eth0 netns "+m)
		}
	}
	for i, m := range machines {
		ip(t, "-n "+m+" link set lo up")
		ip(t, "-n "+m+" link set eth0 up")
		ip(t, "-n "+m+" addr add 10.0.0."+string(rune('1'+i))+"/24 dev eth0")
		ip(t, "-n "+m+" addr add fd00::"+string(rune('1'+i))+"/64 dev eth0 nodad")
	}
	ip(t, "netns exec "+machines[1]+" sysctl -q net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0")
	for range 20 {
		server := exec.Command("ip", "netns", "exec", machines[1], os.Args[0], "-test.run", "^TestEnd$", "-test.v=false")
		server.Stderr = t.Output()
		server.Env = append(os.Environ(), "ECHOSERVER=1")
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		first := dial(t, machines[0], "10.0.0.2:8080")
		for begin := time.Now(); ask(first, 100*time.Millisecond) != nil; time.Sleep(50 * time.Millisecond) {
			if time.Since(begin) > 20*time.Second {
				t.Fatal("the server does not answer")
			}
		}
		var askers sync.WaitGroup
		var answered, refused, lost results
		for i := range 20 {
			conn := dial(t, machines[0], []string{"10.0.0.2:8080", "[fd00::2]:8080"}[i%2])
			askers.Go(func() { askUntilRefused(conn, &answered, &refused, &lost) })
		}
		for answered.get() < 1000 && lost.get() == 0 {
			time.Sleep(time.Millisecond)
		}
		if err := server.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := server.Wait(); err != nil {
			t.Error(err)
		}
		askers.Wait()
		if lost.get() > 0 || refused.get() != 20 {
			t.Errorf("%d were answered, then %d of 20 refused and %d left waiting", answered.get(), refused.get(), lost.get())
		}
	}
}

func ip(t *testing.T, args string) {
	t.Helper()
	if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v %s", args, err, out)
	}
}

// dial connects a socket of a machine.
func dial(t *testing.T, machine, address string) net.Conn {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	own, err1 := netns.Get()
	there, err2 := netns.GetFromName(machine)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	defer there.Close()
	if err := netns.Set(there); err != nil {
		t.Fatal(err)
	}
	conn, err1 := net.Dial("udp", address)
	if err := errors.Join(err1, netns.Set(own)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// results counts.
type results struct {
	sync.Mutex
	n int
}

func (r *results) add() {
	r.Lock()
	r.n++
	r.Unlock()
}

func (r *results) get() int {
	r.Lock()
	defer r.Unlock()
	return r.n
}

// ask sends a datagram and waits for the answer.
func ask(conn net.Conn, patience time.Duration) error {
	_ = conn.SetDeadline(time.Now().Add(patience))
	_, err := conn.Write([]byte("x"))
	if err == nil {
		_, err = conn.Read(make([]byte, 100))
	}
	return err
}

// askUntilRefused asks again and again.
func askUntilRefused(conn net.Conn, answered, refused, lost *results) {
	for {
		err := ask(conn, 2*time.Second)
		if err == nil {
			answered.add()
			continue
		}
		if errors.Is(err, syscall.ECONNREFUSED) {
			refused.add()
		} else {
			lost.add()
		}
		return
	}
}
