package datapath

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"github.com/waggle-mesh/waggle/internal/datapath/pin"
	"github.com/waggle-mesh/waggle/internal/model"
)

// socketList is the pin of the iterator over connected sockets: to read it
// gives all that are connected to Services, of all network namespaces.
const socketList = "sockets"

func (n *Node) socketList() string { return filepath.Join(n.root, socketList) }

// listSockets pins the iterator, in the place of an earlier agent's.
func (n *Node) listSockets() error {
	return pin.Iterate(n.socketList(), n.objects.ListConnected, n.objects.Connected)
}

// lateAnswers is how long sockets stay connected to a backend that serves no
// more, not even those whom it served: as long as resolvers wait for an answer,
// for one that is not ready any more may be just slow. Who sends to a pod that
// has ended is told so by its node, at once.
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

// ForgetBackends ends what goes on with UDP backends that have served nobody for
// 5 s: sockets that are connected to them, but for those of a Service that has
// them still, and connections that a program opened when they were just going.
// The first call looks at all sockets, because an earlier agent may have ended
// before it did. To be called every second; it costs nothing when none has left.
// What fails is tried again by the next call.
func (n *Node) ForgetBackends() error {
	s := n.services
	due, all := s.due()
	if len(due) == 0 && !all {
		return nil
	}
	err := n.forgetBackends(slices.Collect(maps.Keys(due)))
	if n.options.Disconnect != nil {
		sockets, listErr := pin.Read[nodeConnectedSocket](n.socketList())
		err = errors.Join(err, listErr)
		if cookies := s.astray(sockets, due, all); len(cookies) > 0 {
			_, destroyErr := n.options.Disconnect(cookies)
			err = errors.Join(err, destroyErr)
		}
	}
	if err != nil {
		return fmt.Errorf("end conversations with UDP backends that have left: %w", err)
	}
	s.forgotten(due)
	return nil
}

// due are the backends that are gone for long enough, with the time; all tells that
// every socket is to be looked at.
func (s *services) due() (due map[nodeBackend]time.Time, all bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	due = map[nodeBackend]time.Time{}
	for b, since := range s.gone {
		if time.Since(since) > lateAnswers {
			due[b] = since
		}
	}
	return due, !s.looked
}

// astray are the cookies of sockets, by network namespace, that are connected to
// a backend that is due, or to any, of a Service that has it no more.
func (s *services) astray(sockets []nodeConnectedSocket, due map[nodeBackend]time.Time, all bool) map[uint64][]uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	cookies := map[uint64][]uint64{}
	for _, c := range sockets {
		b := nodeBackend{Addr: c.With.Backend, Port: c.With.BackendPort, Proto: c.With.Proto}
		_, isDue := due[b]
		_, left := s.gone[b]
		if (isDue || all && !left) && !among(s.backendsAt(c.With), b) {
			cookies[c.Netns] = append(cookies[c.Netns], c.Cookie)
		}
	}
	return cookies
}

// forgotten notes that nothing goes on any more with those that were due, unless
// they came back and left again.
func (s *services) forgotten(due map[nodeBackend]time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looked = true
	for b, since := range due {
		if s.gone[b] == since {
			delete(s.gone, b)
		}
	}
}

// backendsAt are those behind the address that a socket was connected to, who
// leave among them. A NodePort at a loopback address is that of the unspecified one.
func (s *services) backendsAt(c nodeConversation) []nodeBackend {
	key := nodeFrontendKey{Addr: c.Service, Port: c.ServicePort, Proto: c.Proto, Scope: uint8(nodeScopeSCOPE_INTERNAL)}
	value, ok := s.entries[key]
	if addr := c.Service.addr(); !ok && addr.IsLoopback() {
		key.Addr = addrFrom(netip.PrefixFrom(addr, 0).Masked().Addr())
		value = s.entries[key]
	}
	return s.backendsOf(value.Set)
}
