package cni

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/waggle-mesh/waggle/internal/model"
)

// execute does what a plugin asks. ctx ends when the plugin does.
func (s *Server) execute(ctx context.Context, r request, netns *os.File) response {
	if err := r.validate(); err != nil {
		return response{Error: err}
	}
	if netns == nil && (r.Command == "ADD" || r.Command == "CHECK") {
		return response{Error: types.NewError(types.ErrInvalidNetNS, "the request came without a network namespace", "")}
	}
	if err := ofItsOwn(netns, "/proc/thread-self/ns/net"); err != nil {
		return response{Error: types.NewError(types.ErrInvalidNetNS, fmt.Sprintf("CNI_NETNS %s: %v", r.Netns, err), "")}
	}
	var answer response
	var err error
	switch r.Command {
	case "ADD":
		answer.Result, err = s.add(ctx, r, netns)
	case "DEL":
		err = s.del(ctx, r.key())
	case "CHECK":
		err = s.check(ctx, r, netns)
	case "GC":
		err = s.collect(ctx, r.Valid)
	case "STATUS":
		if s.options.Status != nil {
			err = asNotAvailable(s.options.Status())
		}
	}
	answer.Error = asError(types.ErrInternal, err)
	if err != nil {
		s.options.Log.Warn("pod network", "command", r.Command, "pod", r.Pod, "container", r.Container, "error", err)
	}
	return answer
}

// ofItsOwn refuses a pod's network namespace, nil for none, unless it surely is
// another than the node's: the pod's device and default route would be the node's.
func ofItsOwn(netns *os.File, node string) error {
	if netns == nil {
		return nil
	}
	pod, err := netns.Stat()
	if err != nil {
		return fmt.Errorf("look at the pod's network namespace: %w", err)
	}
	own, err := os.Stat(node)
	if err != nil {
		return fmt.Errorf("look at the node's own network namespace: %w", err)
	}
	if os.SameFile(pod, own) {
		return errors.New("it is the node's own network namespace")
	}
	return nil
}

// add is the way of a pod into the network; on every error all is undone.
func (s *Server) add(ctx context.Context, r request, netns *os.File) (*types100.Result, error) {
	if err := s.busy.lock(ctx, r.key()); err != nil {
		return nil, err
	}
	defer s.busy.unlock(r.key())
	if old, ok := s.find(r.key()); ok {
		if err := s.remove(ctx, old); err != nil {
			return nil, err
		}
	}
	if err := s.queue.drop(r.key()); err != nil {
		return nil, err
	}
	a, err := s.claim(r)
	if err != nil {
		return nil, err
	}
	if err := s.connect(ctx, &a, netns); err != nil {
		if undo := s.remove(ctx, a); undo != nil {
			s.options.Log.Error("undo", "pod", a.Pod, "error", undo)
		}
		return nil, err
	}
	return resultOf(a.PodEndpoint, r.Netns, s.options.Addresses), nil
}

// connect orders the steps: nothing passes before the programs are attached.
func (s *Server) connect(ctx context.Context, a *attachment, netns *os.File) error {
	if err := s.options.Devices.CreatePod(netns, &a.PodEndpoint); err != nil {
		return err
	}
	// What is attached is found by the device's index, also after a crash.
	if err := s.store.write(*a); err != nil {
		return err
	}
	if err := s.options.Attach(ctx, &a.PodEndpoint); err != nil {
		return fmt.Errorf("attach programs to %s of %s: %w", a.Interface, a.Pod, err)
	}
	if err := s.options.Devices.UpPod(netns, a.PodEndpoint); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("the plugin has gone: %w", err)
	}
	return s.commit(*a)
}

// del succeeds for what is not there.
func (s *Server) del(ctx context.Context, key string) error {
	if err := s.busy.lock(ctx, key); err != nil {
		return err
	}
	defer s.busy.unlock(key)
	return s.delLocked(ctx, key)
}

func (s *Server) delLocked(ctx context.Context, key string) error {
	if a, ok := s.find(key); ok {
		return s.remove(ctx, a)
	}
	container, device, _ := strings.Cut(key, "@")
	return s.options.Devices.DeletePod(model.PodEndpoint{Container: container, PodDevice: device})
}

// drain makes the deletions that were queued.
func (s *Server) drain(ctx context.Context) error {
	keys, err := s.queue.keys()
	errs := []error{err}
	for _, key := range keys {
		errs = append(errs, s.drainOne(ctx, key))
	}
	return errors.Join(errs...)
}

func (s *Server) drainOne(ctx context.Context, key string) error {
	if err := s.busy.lock(ctx, key); err != nil {
		return err
	}
	defer s.busy.unlock(key)
	keys, err := s.queue.keys()
	if err != nil || !slices.Contains(keys, key) {
		return err // an ADD came in between
	}
	if err := s.delLocked(ctx, key); err != nil {
		return err
	}
	return s.queue.drop(key)
}

// check compares what is there with what ADD made.
func (s *Server) check(ctx context.Context, r request, netns *os.File) error {
	if err := s.busy.lock(ctx, r.key()); err != nil {
		return err
	}
	defer s.busy.unlock(r.key())
	a, ok := s.find(r.key())
	if !ok || !a.Ready {
		return types.NewError(types.ErrUnknownContainer, fmt.Sprintf("container %s has no %s here", r.Container, r.Device), "")
	}
	if r.Expect != nil && !slices.Equal(r.Expect, a.Addresses) {
		return fmt.Errorf("pod %s has addresses %v, and had %v when it was added", a.Pod, a.Addresses, r.Expect)
	}
	if s.options.Attached != nil {
		if err := s.options.Attached(a.PodEndpoint); err != nil {
			return fmt.Errorf("programs of %s: %w", a.Pod, err)
		}
	}
	return s.options.Devices.CheckPod(netns, a.PodEndpoint)
}

// collect removes all attachments but the valid ones. What is being added
// right now is newer than the runtime's list.
func (s *Server) collect(ctx context.Context, valid []types.GCAttachment) error {
	keep := map[string]bool{}
	for _, v := range valid {
		keep[attachmentKey(v.ContainerID, v.IfName)] = true
	}
	s.mu.Lock()
	var gone []string
	for key, a := range s.attachments {
		if a.Ready && !keep[key] {
			gone = append(gone, key)
		}
	}
	s.mu.Unlock()
	slices.Sort(gone)
	var errs []error
	for _, key := range gone {
		errs = append(errs, s.del(ctx, key))
	}
	return errors.Join(errs...)
}

// resultOf is what the runtime is told of a pod.
func resultOf(e model.PodEndpoint, netns string, addresses Addresses) *types100.Result {
	mac := func(a [6]byte) string { return net.HardwareAddr(a[:]).String() }
	result := &types100.Result{
		CNIVersion: types100.ImplementedSpecVersion,
		Interfaces: []*types100.Interface{
			{Name: e.Interface, Mac: mac(e.HostMAC)},
			{Name: e.PodDevice, Mac: mac(e.MAC), Sandbox: netns},
		},
	}
	routers := map[bool]net.IP{}
	for _, r := range addresses.Routers() {
		routers[r.Is4()] = r.AsSlice()
		all := net.IPNet{IP: make(net.IP, r.BitLen()/8), Mask: make(net.IPMask, r.BitLen()/8)}
		result.Routes = append(result.Routes, &types.Route{Dst: all, GW: r.AsSlice()})
	}
	for _, a := range e.Addresses {
		result.IPs = append(result.IPs, &types100.IPConfig{
			Interface: types100.Int(1),
			Address:   net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())},
			Gateway:   routers[a.Is4()],
		})
	}
	return result
}

func asNotAvailable(err error) error {
	if err == nil {
		return nil
	}
	return types.NewError(types.ErrPluginNotAvailable, err.Error(), "")
}
