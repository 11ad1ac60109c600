package xds

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/waggle-mesh/waggle/internal/model"
)

// Peer is the process at the other end of a connection, as the kernel names
// it.
type Peer struct {
	Process *os.Process // held by its pidfd: not another one with the same number
	UID     uint32
	Cgroup  string // as /proc/PID/cgroup has it; never the root
}

// Welcome is how a peer is served.
type Welcome struct {
	// PortShift is added to the ports that listeners are rendered with: two
	// Envoys of a node have the same listeners at different ports.
	PortShift uint16
}

// Arrival is asked about every peer that connects, before it is told a byte:
// what it does is done before Envoy opens a listener. An error refuses the
// peer; Envoy tries again.
type Arrival func(Peer) (Welcome, error)

// OnArrival makes the server ask. It is called before Serve, whose listener is
// then a UNIX socket.
func (s *Server) OnArrival(f Arrival) { s.arrival = f }

// doorkeeper is the transport's handshake: nothing is exchanged, the kernel is
// asked who is there.
type doorkeeper struct{ server *Server }

// arrived is what a stream knows of its peer.
type arrived struct {
	credentials.CommonAuthInfo
	Peer
	Welcome
}

func (arrived) AuthType() string { return "unix" }

func (d doorkeeper) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	p, err := PeerOf(conn)
	var w Welcome
	if err == nil {
		w, err = d.server.arrival(p)
	}
	if err != nil {
		d.server.log.Warn("refused a connection to the xDS socket", "error", err)
		return nil, nil, fmt.Errorf("refuse the peer: %w", err)
	}
	secure := credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity} // it does not leave the machine
	return conn, arrived{secure, p, w}, nil
}

func (doorkeeper) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("the xDS server calls nobody")
}

func (doorkeeper) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "unix"}
}
func (d doorkeeper) Clone() credentials.TransportCredentials { return d }
func (doorkeeper) OverrideServerName(string) error           { return nil }

// arrivedBy gives what the handshake has found out about a stream's peer; zero
// if nobody was asked.
func arrivedBy(ctx context.Context) arrived {
	if p, ok := peer.FromContext(ctx); ok {
		if a, ok := p.AuthInfo.(arrived); ok {
			return a
		}
	}
	return arrived{}
}

// PeerOf asks the kernel who is at the other end. The process is opened by its
// number, and the kernel's own handle of the peer then tells whether it still
// lives: if so the number has not passed to another.
func PeerOf(conn net.Conn) (Peer, error) {
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		return Peer{}, fmt.Errorf("%T is no UNIX socket", conn)
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return Peer{}, err
	}
	var cred *unix.Ucred
	var credErr, fdErr error
	pidfd := -1
	err = raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		pidfd, fdErr = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PEERPIDFD)
	})
	if err := errors.Join(err, credErr, fdErr); err != nil {
		return Peer{}, fmt.Errorf("ask who connected: %w", err)
	}
	defer unix.Close(pidfd)
	p := Peer{UID: cred.Uid}
	if p.Process, err = os.FindProcess(int(cred.Pid)); err != nil {
		return Peer{}, fmt.Errorf("find process %d: %w", cred.Pid, err)
	}
	if p.Cgroup, err = CgroupOf(int(cred.Pid)); err != nil {
		return Peer{}, err
	}
	if err := unix.PidfdSendSignal(pidfd, syscall.Signal(0), nil, 0); err != nil {
		return Peer{}, fmt.Errorf("process %d has ended: %w", cred.Pid, err)
	}
	return p, nil
}

// CgroupOf is a process's path in the unified hierarchy. The root is
// nobody's own: what is attached there meets every process.
func CgroupOf(pid int) (string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return "", fmt.Errorf("read the cgroup of process %d: %w", pid, err)
	}
	for line := range strings.Lines(string(text)) {
		path, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::")
		switch {
		case !ok:
		case path == "/" || path == "":
			return "", fmt.Errorf("process %d is in the root cgroup: it needs one of its own", pid)
		case !strings.HasPrefix(path, "/"):
			return "", fmt.Errorf("process %d is in cgroup %q, which is no path", pid, path)
		default:
			return path, nil
		}
	}
	return "", fmt.Errorf("process %d has no cgroup in the unified hierarchy", pid)
}

// shifted moves a listener's addresses to other ports. Other resources,
// listeners that are bound where clients connect to (the data path's are
// transparent) and those of a peer without a shift stay as they are.
func shifted(t model.ResourceType, body *anypb.Any, by uint16) *anypb.Any {
	var l listenerv3.Listener
	if t != model.EnvoyListener || by == 0 || proto.Unmarshal(body.Value, &l) != nil {
		return body // Envoy will say what is wrong with it
	}
	if !l.GetTransparent().GetValue() {
		return body
	}
	addresses := []*listenerv3.AdditionalAddress{{Address: l.Address}}
	for _, a := range append(addresses, l.AdditionalAddresses...) {
		if s := a.GetAddress().GetSocketAddress(); s != nil {
			s.PortSpecifier = &corev3.SocketAddress_PortValue{PortValue: s.GetPortValue() + uint32(by)}
		}
	}
	value, err := proto.MarshalOptions{Deterministic: true}.Marshal(&l)
	if err != nil {
		return body
	}
	return &anypb.Any{TypeUrl: body.TypeUrl, Value: value}
}

// Acknowledged tells whether an Envoy, by its cgroup, has answered for every
// listener as it is now desired, be it with a refusal.
func (s *Server) Acknowledged(cgroup string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for st := range s.streams {
		if st.peer.Cgroup == cgroup && st.listenersAnswered() {
			return true
		}
	}
	return false
}

// listenersAnswered is asked with mu held.
func (st *stream) listenersAnswered() bool {
	for name, r := range st.server.desired[model.EnvoyListener] {
		a := st.answers[model.ResourceKey{Type: model.EnvoyListener, Name: name}]
		if a.hash != r.hash || a.state == model.Pending {
			return false
		}
	}
	return true
}
