package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
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
	client, server := machine(t), machine(t)
	run(t, client, "ip link add eth0 type veth peer eth0 netns "+server)
	for i, m := range []string{client, server} {
		run(t, m, "ip link set lo up")
		run(t, m, "ip link set eth0 up")
		run(t, m, fmt.Sprintf("ip addr add 10.0.0.%d/24 dev eth0", i+1))
		run(t, m, fmt.Sprintf("ip addr add fd00::%d/64 dev eth0 nodad", i+1))
	}
	run(t, server, "sysctl -q net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0") // by default six refusals at once
	for range 20 {
		process := exec.Command("nsenter", "-n", "-t", server, os.Args[0], "-test.run", "^TestEnd$")
		process.Stderr = t.Output()
		process.Env = append(os.Environ(), "ECHOSERVER=1")
		if err := process.Start(); err != nil {
			t.Fatal(err)
		}
		first := dial(t, client, "10.0.0.2:8080")
		for begin := time.Now(); ask(first, 100*time.Millisecond) != nil; time.Sleep(50 * time.Millisecond) {
			if time.Since(begin) > 20*time.Second {
				t.Fatal("the server does not answer")
			}
		}
		var askers sync.WaitGroup
		var answered, refused, lost results
		for i := range 20 {
			conn := dial(t, client, []string{"10.0.0.2:8080", "[fd00::2]:8080"}[i%2])
			askers.Go(func() { askUntilRefused(conn, &answered, &refused, &lost) })
		}
		for answered.get() < 1000 && lost.get()+refused.get() == 0 {
			time.Sleep(time.Millisecond)
		}
		if err := process.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := process.Wait(); err != nil {
			t.Error(err)
		}
		askers.Wait()
		if lost.get() > 0 || refused.get() != 20 {
			t.Errorf("%d were answered, then %d of 20 refused and %d left waiting", answered.get(), refused.get(), lost.get())
		}
	}
}

// machine is a network namespace, by the process that it lasts as long as.
func machine(t *testing.T) string {
	t.Helper()
	process := exec.Command("sleep", "inf")
	process.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = process.Process.Kill()
		_ = process.Wait()
	})
	return strconv.Itoa(process.Process.Pid)
}

func run(t *testing.T, machine, command string) {
	t.Helper()
	if out, err := exec.Command("nsenter", append([]string{"-n", "-t", machine}, strings.Fields(command)...)...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v %s", command, err, out)
	}
}

// dial connects a socket of a machine.
func dial(t *testing.T, machine, address string) net.Conn {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	own, err1 := netns.Get()
	pid, _ := strconv.Atoi(machine)
	there, err2 := netns.GetFromPid(pid)
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
		err := ask(conn, 20*time.Second)
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
