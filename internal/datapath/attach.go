package datapath

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/waggle-mesh/waggle/internal/datapath/pin"
)

// Links are pinned as <program>-<target>: the index of a device or the inode
// of a cgroup. So a link to what is gone is told from one to its successor.

func (n *Node) links() string { return filepath.Join(n.root, "links") }

func (n *Node) pin(program string, target uint64) string {
	return filepath.Join(n.links(), program+"-"+strconv.FormatUint(target, 10))
}

// attached tells whether an earlier agent has attached anything.
func (n *Node) attached() bool {
	entries, err := os.ReadDir(n.links())
	return err == nil && len(entries) > 0
}

type hook struct {
	name    string
	program *ebpf.Program
	attach  ebpf.AttachType
}

func (n *Node) uplinkHooks() []hook {
	return []hook{
		{"from_uplink", n.objects.FromUplink, ebpf.AttachTCXIngress},
		{"to_uplink", n.objects.ToUplink, ebpf.AttachTCXEgress},
	}
}

// podHooks are those of a pod's device; what the pod sends is judged last,
// when its answers can be.
func (n *Node) podHooks() []hook {
	return []hook{
		{"to_pod", n.objects.ToPod, ebpf.AttachTCXEgress},
		{"from_pod", n.objects.FromPod, ebpf.AttachTCXIngress},
	}
}

func (n *Node) socketHooks() []hook {
	return []hook{
		{"connect4", n.objects.Connect4, ebpf.AttachCGroupInet4Connect},
		{"connect6", n.objects.Connect6, ebpf.AttachCGroupInet6Connect},
		{"sendmsg4", n.objects.Sendmsg4, ebpf.AttachCGroupUDP4Sendmsg},
		{"sendmsg6", n.objects.Sendmsg6, ebpf.AttachCGroupUDP6Sendmsg},
		{"recvmsg4", n.objects.Recvmsg4, ebpf.AttachCGroupUDP4Recvmsg},
		{"recvmsg6", n.objects.Recvmsg6, ebpf.AttachCGroupUDP6Recvmsg},
		{"getpeername4", n.objects.Getpeername4, ebpf.AttachCgroupInet4GetPeername},
		{"getpeername6", n.objects.Getpeername6, ebpf.AttachCgroupInet6GetPeername},
	}
}

// attach puts the programs where they belong on the node, and replaces those
// of pods that are there.
func (n *Node) attach() error {
	if err := os.MkdirAll(n.links(), 0o700); err != nil {
		return fmt.Errorf("make folder for links: %w", err)
	}
	uplink, err := net.InterfaceByName(n.options.Uplink)
	if err != nil {
		return fmt.Errorf("find uplink %q: %w", n.options.Uplink, err)
	}
	var stat unix.Stat_t
	if err := unix.Stat(n.options.Cgroup, &stat); err != nil {
		return fmt.Errorf("look at cgroup %s: %w", n.options.Cgroup, err)
	}
	for _, h := range n.uplinkHooks() {
		if err := n.attachDevice(h, uplink.Index); err != nil {
			return err
		}
	}
	if err := n.replacePods(uplink.Index, stat.Ino); err != nil {
		return err
	}
	for _, h := range n.socketHooks() {
		if err := n.attachCgroup(h, stat.Ino); err != nil {
			return err
		}
	}
	return nil
}

// replacePods updates the links to pods' devices, and drops those to devices,
// uplinks and cgroups that are no longer ours.
func (n *Node) replacePods(uplink int, cgroup uint64) error {
	entries, err := os.ReadDir(n.links())
	if err != nil {
		return fmt.Errorf("list links: %w", err)
	}
	pods := map[string]hook{}
	for _, h := range n.podHooks() {
		pods[h.name] = h
	}
	ours := map[string]uint64{}
	for _, h := range n.uplinkHooks() {
		ours[h.name] = uint64(uplink)
	}
	for _, h := range n.socketHooks() {
		ours[h.name] = cgroup
	}
	for _, entry := range entries {
		path := filepath.Join(n.links(), entry.Name())
		name, target, _ := strings.Cut(entry.Name(), "-")
		if want, ok := ours[name]; ok && target != strconv.FormatUint(want, 10) {
			if err := os.Remove(path); err != nil {
				return fmt.Errorf("remove link %s: %w", entry.Name(), err)
			}
		}
		if h, ok := pods[name]; ok {
			if _, err := pin.Replace(path, h.program); err != nil {
				return err
			}
		}
	}
	return nil
}

func (n *Node) attachDevice(h hook, index int) error {
	if err := pin.AttachDevice(n.pin(h.name, uint64(index)), index, h.program, h.attach); err != nil {
		return fmt.Errorf("attach %s to device %d: %w", h.name, index, err)
	}
	return nil
}

func (n *Node) attachCgroup(h hook, inode uint64) error {
	if err := pin.AttachCgroup(n.pin(h.name, inode), n.options.Cgroup, h.program, h.attach); err != nil {
		return fmt.Errorf("attach %s to cgroup %s: %w", h.name, n.options.Cgroup, err)
	}
	return nil
}

// AttachPod puts the programs on the host's end of a pod's veth, by its index
// in this thread's network namespace. A pod must not start before it returns.
// Doing it again is no error.
func (n *Node) AttachPod(index int) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.pending { // of the earlier layout, if it has them; Commit replaces them
		if _, err := os.Stat(n.pin("from_pod", uint64(index))); err == nil {
			return nil
		}
	}
	for _, h := range n.podHooks() {
		if err := n.attachDevice(h, index); err != nil {
			return err
		}
	}
	return nil
}

// DetachPod forgets a pod's device, which may be gone.
func (n *Node) DetachPod(index int) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, h := range n.podHooks() {
		if err := os.Remove(n.pin(h.name, uint64(index))); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove link: %w", err)
		}
	}
	return nil
}

// Pods are the indexes of the devices that AttachPod was called for, by this
// agent and earlier ones.
func (n *Node) Pods() ([]int, error) {
	entries, err := os.ReadDir(n.links())
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	var pods []int
	for _, entry := range entries {
		if name, target, ok := strings.Cut(entry.Name(), "-"); ok && name == "from_pod" {
			if index, err := strconv.Atoi(target); err == nil {
				pods = append(pods, index)
			}
		}
	}
	return pods, nil
}
