// Package load is the load of benchmarks in network namespaces: a server and
// clients, each a process of its own on a machine of package nodes, kept on
// one core. They ask by plain system calls and allocate nothing meanwhile, so
// that most of what a request costs is the way of its packets.
//
// The processes are the program itself: its main function calls Main.
package load

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"runtime/debug"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/waggle-mesh/waggle/test/nodes"
)

// Ports of a Server.
const (
	Port       = 80 // answers HTTP/1.1 requests without a body
	StreamPort = 81 // takes all that comes
)

// Variables of the environment that make the program a part of the load.
const (
	partVariable = "WAGGLE_BENCH_LOAD"
	coreVariable = "WAGGLE_BENCH_CORE"
)

// Parts that are not programs.
const (
	server = "server"
	client = "client"
)

// Main does not return in a process that is a part of the load.
func Main() {
	part := os.Getenv(partVariable)
	if part == "" {
		return
	}
	err := claim(os.Getenv(coreVariable))
	debug.SetGCPercent(-1)
	switch {
	case err != nil:
	case part == server:
		err = serve()
	case part == client:
		err = obey()
	default:
		err = unix.Exec(part, append([]string{part}, os.Args[1:]...), os.Environ())
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: %s: %v\n", part, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// claim keeps all threads of this process on a core, where they go before
// everybody else's. The scheduler shares a core out by session first.
func claim(core string) error {
	n, err := strconv.Atoi(core)
	if err != nil {
		return fmt.Errorf("read the core's number: %w", err)
	}
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, task := range tasks {
		tid, err := strconv.Atoi(task.Name())
		if err != nil {
			return err
		}
		var set unix.CPUSet
		set.Set(n)
		if err := unix.SchedSetaffinity(tid, &set); err != nil {
			return fmt.Errorf("pin thread %d to core %d: %w", tid, n, err)
		}
		if err := unix.Setpriority(unix.PRIO_PROCESS, tid, highest); err != nil {
			return fmt.Errorf("raise the priority of thread %d: %w", tid, err)
		}
	}
	if _, err := unix.Setsid(); err != nil {
		return fmt.Errorf("begin a session: %w", err)
	}
	err = os.WriteFile("/proc/self/autogroup", []byte(strconv.Itoa(highest)), 0)
	if errors.Is(err, fs.ErrNotExist) { // a kernel that does not group by session
		return nil
	}
	return err
}

// highest is a priority, as nice counts.
const highest = -20

// Command makes a program a part of the load: it runs on the core, before
// everybody else.
func Command(core int, program string, args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), partVariable+"="+program, coreVariable+"="+strconv.Itoa(core))
	return cmd
}

func start(t testing.TB, m *nodes.Machine, part string, core int) *Process {
	t.Helper()
	cmd := Command(core, part)
	cmd.Env = append(cmd.Env, "GOMAXPROCS=1", "GODEBUG=asyncpreemptoff=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Start(cmd, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return &Process{PID: cmd.Process.Pid, to: json.NewEncoder(in), from: json.NewDecoder(out)}
}

// Process is a running server or client.
type Process struct {
	PID  int
	to   *json.Encoder
	from *json.Decoder
}

// Serve starts a server on a machine, at both ports and of both families.
func Serve(t testing.TB, m *nodes.Machine, core int) *Process {
	t.Helper()
	p := start(t, m, server, core)
	var ready bool
	if err := p.from.Decode(&ready); err != nil {
		t.Fatalf("start the server of %s: %v", m.Name, err)
	}
	return p
}

// Client is a client on a machine.
type Client struct{ *Process }

// NewClient starts one.
func NewClient(t testing.TB, m *nodes.Machine, core int) *Client {
	t.Helper()
	return &Client{start(t, m, client, core)}
}

// order is what a client is told.
type order struct {
	Do          string
	Target      netip.AddrPort
	Connections int           `json:",omitempty"` // open
	Pool        int           `json:",omitempty"` // ask
	AtOnce      int           `json:",omitempty"` // ask
	For         time.Duration `json:",omitempty"`
}

// Done is what a client has done.
type Done struct {
	Count    int64 // requests, connections or bytes
	Took     time.Duration
	P50, P99 time.Duration // of a request, where it was measured
}

type report struct {
	Done
	Pool  int
	Error string
}

func (c *Client) do(o order) (report, error) {
	if err := c.to.Encode(o); err != nil {
		return report{}, fmt.Errorf("tell the client: %w", err)
	}
	var r report
	if err := c.from.Decode(&r); err != nil {
		return report{}, fmt.Errorf("hear from the client: %w", err)
	}
	if r.Error != "" {
		return r, errors.New(r.Error)
	}
	return r, nil
}

// Pool is connections of a client that are held open.
type Pool struct {
	client      *Client
	number      int
	connections int
}

// Open opens connections, and asks once on each.
func (c *Client) Open(target netip.AddrPort, connections int) (Pool, error) {
	r, err := c.do(order{Do: "open", Target: target, Connections: connections})
	return Pool{c, r.Pool, connections}, err
}

// Ask asks on all connections of the pool for a while, on each again when it
// has its answer.
func (p Pool) Ask(d time.Duration) (Done, error) { return p.AskSome(p.connections, d) }

// AskSome does the same with so many requests on their way at once: the
// connections take turns.
func (p Pool) AskSome(atOnce int, d time.Duration) (Done, error) {
	r, err := p.client.do(order{Do: "ask", Pool: p.number, AtOnce: atOnce, For: d})
	return r.Done, err
}

// Connect makes one connection after another for a while, with one request
// each. The server ends it.
func (c *Client) Connect(target netip.AddrPort, d time.Duration) (Done, error) {
	r, err := c.do(order{Do: "connect", Target: target, For: d})
	return r.Done, err
}

// Stream sends as much as it can for a while, on one connection. It counts
// bytes that the server has taken.
func (c *Client) Stream(target netip.AddrPort, d time.Duration) (Done, error) {
	r, err := c.do(order{Do: "stream", Target: target, For: d})
	return r.Done, err
}
