package nodes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/rpc"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"
)

// residentVariable makes the test binary a Resident.
const residentVariable = "WAGGLE_NODES_RESIDENT"

// Main runs the tests, or is a Resident in a process that a ground has
// started. TestMain calls it with (*testing.M).Run.
func Main(run func() int) {
	name := os.Getenv(residentVariable)
	if name == "" {
		os.Exit(run())
	}
	server := rpc.NewServer()
	if err := server.Register(&Resident{name: name, sessions: map[string]*session{}, stops: map[string]context.CancelFunc{}}); err != nil {
		panic(err)
	}
	server.ServeConn(pipe{os.Stdin, os.Stdout}) // until the test is gone
}

// Resident is the process in a machine that does what tests ask. Its methods
// are called from the test's process, see Machine.
type Resident struct {
	name string

	mu       sync.Mutex
	sessions map[string]*session
	stops    map[string]context.CancelFunc // of loads, by name
}

type pipe struct {
	io.ReadCloser
	io.WriteCloser
}

func (p pipe) Close() error { return errors.Join(p.ReadCloser.Close(), p.WriteCloser.Close()) }

// settle starts the machine's Resident.
func (m *Machine) settle(t testing.TB) error {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), residentVariable+"="+m.Name)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := m.Start(cmd, ""); err != nil {
		return err
	}
	m.calls = rpc.NewClient(pipe{out, in})
	t.Cleanup(func() {
		m.calls.Close()
		cmd.Process.Kill()
		cmd.Wait()
	})
	return nil
}

func (m *Machine) call(t testing.TB, method string, args, reply any) {
	t.Helper()
	if err := m.calls.Call("Resident."+method, args, reply); err != nil {
		t.Fatalf("%s: %s(%+v): %v", m.Name, method, args, err)
	}
}

// DialRequest asks for a TCP connection that is closed at once.
type DialRequest struct {
	Address   string
	LocalPort int // 0: any
	Timeout   time.Duration
}

// DialResult is what came of it.
type DialResult struct {
	Error   string        // "" if it stood
	Refused bool          // with a RST
	Took    time.Duration // until it stood or failed
}

// Dial makes a TCP connection from the machine and closes it.
func (m *Machine) Dial(t testing.TB, r DialRequest) DialResult {
	t.Helper()
	var out DialResult
	m.call(t, "Dial", r, &out)
	return out
}

// Dial is Machine.Dial in the machine.
func (r *Resident) Dial(q DialRequest, out *DialResult) error {
	start := time.Now()
	c, err := dialer(q.LocalPort, cmpTimeout(q.Timeout)).Dial("tcp", q.Address)
	out.Took = time.Since(start)
	if err != nil {
		out.Error, out.Refused = err.Error(), errors.Is(err, syscall.ECONNREFUSED)
		return nil
	}
	return c.Close()
}

func cmpTimeout(d time.Duration) time.Duration {
	if d == 0 {
		return 5 * time.Second
	}
	return d
}

func dialer(localPort int, timeout time.Duration) *net.Dialer {
	d := &net.Dialer{Timeout: timeout}
	if localPort != 0 {
		d.LocalAddr = &net.TCPAddr{Port: localPort}
	}
	d.SetMultipathTCP(false)
	return d
}

// UDPRequest asks for an answer to a datagram.
type UDPRequest struct {
	Address string
	Connect bool   // with connect and send, else sendto
	Payload string // what the server's answer ends with
	Timeout time.Duration
}

// UDPResult is the answer.
type UDPResult struct {
	Answer string // "<server's name> <client as it saw it> <payload>"
	From   string // who answered, as the client saw it
	Error  string
}

// ServeUDP answers datagrams on the machine, until the ground ends.
func (m *Machine) ServeUDP(t testing.TB, address string) {
	t.Helper()
	m.call(t, "ServeUDP", address, &struct{}{})
}

// AskUDP sends a datagram from the machine and waits for the answer.
func (m *Machine) AskUDP(t testing.TB, r UDPRequest) UDPResult {
	t.Helper()
	var out UDPResult
	m.call(t, "AskUDP", r, &out)
	return out
}

// ServeUDP is Machine.ServeUDP in the machine.
func (r *Resident) ServeUDP(address string, _ *struct{}) error {
	c, err := net.ListenPacket("udp", address)
	if err != nil {
		return err
	}
	go func() {
		buffer := make([]byte, 64<<10)
		for {
			n, from, err := c.ReadFrom(buffer)
			if err != nil {
				if errors.Is(err, net.ErrClosed) {
					return
				}
				continue // an ICMP error about an earlier answer
			}
			fmt.Fprintf(writerTo{c, from}, "%s %s %s", r.name, from, buffer[:n])
		}
	}()
	return nil
}

type writerTo struct {
	net.PacketConn
	to net.Addr
}

func (w writerTo) Write(b []byte) (int, error) { return w.WriteTo(b, w.to) }

// AskUDP is Machine.AskUDP in the machine.
func (r *Resident) AskUDP(q UDPRequest, out *UDPResult) error {
	answer, from, err := askUDP(q)
	out.Answer, out.From = answer, from
	if err != nil {
		out.Error = err.Error()
	}
	return nil
}

func askUDP(q UDPRequest) (answer, from string, err error) {
	to, err := netip.ParseAddrPort(q.Address)
	if err != nil {
		return "", "", err
	}
	buffer := make([]byte, 64<<10)
	if q.Connect {
		c, err := net.Dial("udp", q.Address)
		if err != nil {
			return "", "", err
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(cmpTimeout(q.Timeout)))
		if _, err := io.WriteString(c, q.Payload); err != nil {
			return "", "", err
		}
		n, err := c.Read(buffer)
		return string(buffer[:n]), c.RemoteAddr().String(), err
	}
	network := "udp4"
	if to.Addr().Is6() {
		network = "udp6"
	}
	c, err := net.ListenPacket(network, ":0")
	if err != nil {
		return "", "", err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(cmpTimeout(q.Timeout)))
	if _, err := c.WriteTo([]byte(q.Payload), net.UDPAddrFromAddrPort(to)); err != nil {
		return "", "", err
	}
	n, peer, err := c.ReadFrom(buffer)
	if err != nil {
		return "", "", err
	}
	return string(buffer[:n]), peer.String(), nil
}
