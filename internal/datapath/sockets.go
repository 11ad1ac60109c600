package datapath

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"
	"unsafe"

	"github.com/cilium/ebpf/link"

	"github.com/waggle-mesh/waggle/internal/model"
)

// socketList is the pin of the iterator over connected sockets: to read it
// gives all that are connected to Services, of all network namespaces.
const socketList = "sockets"

func (n *Node) socketList() string { return filepath.Join(n.root, socketList) }

// listSockets pins the iterator, in the place of an earlier agent's.
func (n *Node) listSockets() error {
	l, err := link.AttachIter(link.IterOptions{Program: n.objects.ListConnected, Map: n.objects.Connected})
	if err != nil {
		return fmt.Errorf("attach the iterator of sockets: %w", err)
	}
	defer l.Close()
	if err := os.Remove(n.socketList()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the earlier iterator of sockets: %w", err)
	}
	if err := l.Pin(n.socketList()); err != nil {
		return fmt.Errorf("pin the iterator of sockets: %w", err)
	}
	return nil
}

func readSockets(pin string) ([]nodeConnectedSocket, error) {
	f, err := os.Open(pin)
	if err != nil {
		return nil, fmt.Errorf("open the iterator of sockets: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(f)
	if err != nil {
		return nil, fmt.Errorf("list sockets: %w", err)
	}
	if len(text) == 0 {
		return nil, nil
	}
	return unsafe.Slice((*nodeConnectedSocket)(unsafe.Pointer(&text[0])), len(text)/int(unsafe.Sizeof(nodeConnectedSocket{}))), nil
}

// lateAnswers is how long sockets stay connected to a backend that has left.
const lateAnswers = 5 * time.Second

// backendsGone has the next datagrams of conversations with backends that serve
// no more find others, and remembers to disconnect the sockets of such.
func (s *services) backendsGone(gone []nodeBackend) error {
	gone = slices.DeleteFunc(slices.Clone(gone), func(b nodeBackend) bool { return b.Proto != uint8(model.UDP) })
	for _, b := range gone {
		b.Flags = 0
		s.gone[b] = time.Now()
	}
	return s.node.forgetBackends(gone)
}

// disconnect ends the sockets that are connected to backends that have left,
// but not those of a Service that still has them. What fails is tried again.
func (s *services) disconnect() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var due []nodeBackend
	for b, since := range s.gone {
		if time.Since(since) > lateAnswers {
			due = append(due, b)
		}
	}
	if len(due) == 0 || s.node.options.Disconnect == nil {
		return nil
	}
	sockets, err := readSockets(s.node.socketList())
	if err != nil {
		return err
	}
	cookies := map[uint64][]uint64{}
	for _, c := range sockets {
		b := nodeBackend{Addr: c.With.Backend, Port: c.With.BackendPort, Proto: c.With.Proto}
		if slices.Contains(due, b) && !among(s.backendsAt(c.With), b) {
			cookies[c.Netns] = append(cookies[c.Netns], c.Cookie)
		}
	}
	if len(cookies) > 0 {
		if _, err := s.node.options.Disconnect(cookies); err != nil {
			return err
		}
	}
	for _, b := range due {
		delete(s.gone, b)
	}
	return nil
}

// backendsAt are those behind the address that a socket was connected to. A
// NodePort at a loopback address is that of the unspecified one.
func (s *services) backendsAt(c nodeConversation) []nodeBackend {
	key := nodeFrontendKey{Addr: c.Service, Port: c.ServicePort, Proto: c.Proto, Scope: uint8(nodeScopeSCOPE_INTERNAL)}
	value, ok := s.entries[key]
	if addr := c.Service.addr(); !ok && addr.IsLoopback() {
		key.Addr = addrFrom(netip.PrefixFrom(addr, 0).Masked().Addr())
		value = s.entries[key]
	}
	return s.sets[value.Set]
}
