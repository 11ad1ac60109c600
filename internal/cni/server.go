package cni

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/waggle-mesh/waggle/internal/model"
)

// Addresses gives pods their addresses; an owner is an attachment's key.
type Addresses interface {
	Allocate(owner string) ([]netip.Addr, error)
	Hold(owner string, addresses []netip.Addr) error
	Release(owner string)
	// Released is the order of use of what was released; Rest takes it back
	// after a restart.
	Released() []netip.Addr
	Rest(released []netip.Addr)
	Routers() []netip.Addr
}

// Devices makes the devices of pods. Deleting what is not there is no error.
type Devices interface {
	// CreatePod makes the pod's device and its host's end, which let nothing
	// pass before UpPod, and fills in what e lacks of them.
	CreatePod(netns *os.File, e *model.PodEndpoint) error
	UpPod(netns *os.File, e model.PodEndpoint) error
	CheckPod(netns *os.File, e model.PodEndpoint) error
	DeletePod(e model.PodEndpoint) error
	// PodDevices are the host's ends of whatever CreatePod made, by index.
	PodDevices() (map[int]string, error)
	DeletePodDevice(name string) error
}

// Options of a Server.
type Options struct {
	Socket    string // where plugins find the agent; its directory becomes 0700
	State     string // directory of what is remembered; one that a reboot empties will do
	Addresses Addresses
	Devices   Devices

	// Attach attaches the programs to the host's end and makes the endpoint
	// known to them. It may set Identity. The pod gets no packet before it
	// returns, and does not start if it fails.
	Attach func(ctx context.Context, e *model.PodEndpoint) error
	// Detach undoes Attach, whatever of it was done. It is repeated until it
	// succeeds.
	Detach func(ctx context.Context, e model.PodEndpoint) error
	// Attached tells what is wrong with the programs of an endpoint, for
	// CHECK. May be nil.
	Attached func(e model.PodEndpoint) error
	// Status tells why no pod can start now. May be nil.
	Status func() error

	Log *slog.Logger
}

// Server is the agent's side.
//
//	Open ──▶ Recover ──▶ attach programs to Endpoints ──▶ Serve
type Server struct {
	options Options
	store   *store
	queue   queue
	busy    locks // keys that are worked on

	mu          sync.Mutex
	attachments map[string]attachment
	ids         map[uint16]string // endpoint IDs in use, by whom
	lastID      uint16
}

// Open takes the state directory, and waits for another process that has it,
// until ctx ends.
func Open(ctx context.Context, o Options) (*Server, error) {
	store, err := openStore(ctx, o.State)
	if err != nil {
		return nil, err
	}
	return &Server{options: o, store: store, queue: queueOf(o.Socket), attachments: map[string]attachment{}, ids: map[uint16]string{}}, nil
}

// Close lets another process have the state directory.
func (s *Server) Close() { s.store.close() }

// Recover reads what an earlier process left. Pods that run keep everything;
// what was half made, or has lost its device, is taken away, and so are
// devices that nobody remembers.
func (s *Server) Recover(ctx context.Context) error {
	all, broken, err := s.store.read()
	if err != nil {
		return err
	}
	for _, err := range broken {
		s.options.Log.Warn("endpoint forgotten", "error", err)
	}
	devices, err := s.options.Devices.PodDevices()
	if err != nil {
		return err
	}
	var gone []attachment
	for _, a := range all {
		if err := s.adopt(a); err != nil {
			s.options.Log.Warn("endpoint forgotten", "pod", a.Pod, "error", err)
			a.Ready = false
		}
		if !a.Ready || devices[a.Index] != a.Interface {
			gone = append(gone, a)
			continue
		}
		delete(devices, a.Index)
	}
	s.options.Addresses.Rest(s.store.readReleased())
	var errs []error
	for _, a := range gone {
		s.options.Log.Info("remove endpoint that is no more", "pod", a.Pod, "container", a.Container)
		errs = append(errs, s.remove(ctx, a))
	}
	for _, name := range slices.Sorted(maps.Values(devices)) {
		errs = append(errs, s.options.Devices.DeletePodDevice(name))
	}
	return errors.Join(errs...)
}

// adopt remembers an attachment with its address and ID.
func (s *Server) adopt(a attachment) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if other := s.ids[a.ID]; other != "" && other != a.key() {
		return fmt.Errorf("endpoint ID %d is that of %s", a.ID, other)
	}
	if err := s.options.Addresses.Hold(a.key(), a.Addresses); err != nil {
		return err
	}
	s.attachments[a.key()], s.ids[a.ID] = a, a.key()
	s.lastID = max(s.lastID, a.ID)
	return nil
}

// Endpoints are the pods that have their network, by ID.
func (s *Server) Endpoints() []model.PodEndpoint {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []model.PodEndpoint
	for _, a := range s.attachments {
		if a.Ready {
			all = append(all, a.PodEndpoint)
		}
	}
	slices.SortFunc(all, func(a, b model.PodEndpoint) int { return int(a.ID) - int(b.ID) })
	return all
}

// claim gives a new attachment its ID and addresses, and writes it down.
func (s *Server) claim(r request) (attachment, error) {
	addresses, err := s.options.Addresses.Allocate(r.key())
	if err != nil {
		return attachment{}, err
	}
	a := attachment{PodEndpoint: model.PodEndpoint{Pod: r.Pod, UID: r.UID, Container: r.Container, PodDevice: r.Device,
		Addresses: addresses, Identity: model.IdentityInit}}
	s.mu.Lock()
	a.ID, err = s.freeID()
	if err == nil {
		s.attachments[r.key()], s.ids[a.ID] = a, r.key()
	}
	s.mu.Unlock()
	if err != nil {
		s.options.Addresses.Release(r.key())
		return attachment{}, err
	}
	if err := s.store.write(a); err != nil {
		return attachment{}, errors.Join(err, s.forget(a))
	}
	return a, nil
}

// freeID goes round, so that an ID is not used again soon.
func (s *Server) freeID() (uint16, error) {
	for range math.MaxUint16 {
		if s.lastID++; s.lastID != 0 && s.ids[s.lastID] == "" {
			return s.lastID, nil
		}
	}
	return 0, errors.New("no free endpoint ID: all 65535 are in use")
}

// commit writes down that a pod has its network.
func (s *Server) commit(a attachment) error {
	a.Ready = true
	if err := s.store.write(a); err != nil {
		return err
	}
	s.mu.Lock()
	s.attachments[a.key()] = a
	s.mu.Unlock()
	return nil
}

// remove takes an attachment out of the world, then out of memory. If the
// world refuses it stays remembered as half made.
func (s *Server) remove(ctx context.Context, a attachment) error {
	a.Ready = false
	s.mu.Lock()
	if _, known := s.attachments[a.key()]; known {
		s.attachments[a.key()] = a
	}
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	if a.Index != 0 {
		if err := s.options.Detach(ctx, a.PodEndpoint); err != nil {
			return fmt.Errorf("detach programs of %s: %w", a.Pod, err)
		}
	}
	if err := s.options.Devices.DeletePod(a.PodEndpoint); err != nil {
		return err
	}
	return s.forget(a)
}

// forget lets address and ID go.
func (s *Server) forget(a attachment) error {
	if err := s.store.remove(a.key()); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.attachments[a.key()].ID != a.ID {
		return nil // its ID or address were another's from the start
	}
	delete(s.attachments, a.key())
	delete(s.ids, a.ID)
	s.options.Addresses.Release(a.key())
	s.store.writeReleased(s.options.Addresses.Released())
	return nil
}

func (s *Server) find(key string) (attachment, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.attachments[key]
	return a, ok
}

// locks are held by key.
type locks struct {
	mu   sync.Mutex
	held map[string]chan struct{} // closed when the key is free
}

// lock waits until nobody works on the key, or ctx ends.
func (l *locks) lock(ctx context.Context, key string) error {
	for {
		l.mu.Lock()
		free, held := l.held[key]
		if !held {
			if l.held == nil {
				l.held = map[string]chan struct{}{}
			}
			l.held[key] = make(chan struct{})
			l.mu.Unlock()
			return nil
		}
		l.mu.Unlock()
		select {
		case <-free:
		case <-ctx.Done():
			return fmt.Errorf("wait for the attachment's other request: %w", ctx.Err())
		}
	}
}

func (l *locks) unlock(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.held[key])
	delete(l.held, key)
}
