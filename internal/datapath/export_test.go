package datapath

import (
	"fmt"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/waggle-mesh/waggle/internal/datapath/kernel"
	"github.com/waggle-mesh/waggle/internal/model"
)

// What the programs answer.
const (
	Next     = -1
	Dropped  = 2
	Redirect = 7
)

// Age makes every connection look as if its last packet was that long ago.
func (n *Node) Age(by time.Duration) error {
	keys, values := []nodeConnKey{}, []nodeConn{}
	_, _, err := n.connections(func(key nodeConnKey, c nodeConn) bool {
		c.Seen -= uint64(by)
		keys, values = append(keys, key), append(values, c)
		return false
	})
	if err != nil {
		return err
	}
	_, err = n.objects.Conntrack.BatchUpdate(keys, values, nil)
	return err
}

// Forget removes every connection, as if others had pushed them out.
func (n *Node) Forget() error {
	_, _, err := n.connections(func(nodeConnKey, nodeConn) bool { return true })
	return err
}

// SetSNATPorts changes the ports of masqueraded connections for a test.
func SetSNATPorts(t *testing.T, first, last uint16) {
	before := snatPorts
	t.Cleanup(func() { snatPorts = before })
	snatPorts = model.PortRange{First: first, Last: last}
}

// AgeBackends makes backends look as if they had left that much earlier.
func (n *Node) AgeBackends(by time.Duration) {
	for b, since := range n.services.gone {
		n.services.gone[b] = since.Add(-by)
	}
}

// Listen makes a socket the proxy's listener number k, of the only generation.
func (n *Node) Listen(k uint16, socket uintptr, family int) error {
	const base = 10000
	key := nodeListenerKey{Port: base + k}
	if family == 6 {
		key.V6 = 1
	}
	if err := n.objects.Listeners.Put(key, uint64(socket)); err != nil {
		return err
	}
	return n.objects.Active.Put(uint32(0), nodeActive{Cur: base})
}

// CollectWhile collects, and calls meanwhile after the first entry was found to
// be past its time.
func (n *Node) CollectWhile(meanwhile func()) (removed int, err error) {
	now, err := kernel.Monotonic()
	if err != nil {
		return 0, err
	}
	called := false
	_, removed, err = n.connections(func(key nodeConnKey, c nodeConn) bool {
		old := time.Duration(c.Seen)+lifetime(key, c) < now
		if old && !called {
			called = true
			meanwhile()
		}
		return old
	})
	return removed, err
}

// RunProgram gives a packet to a program as if it came by a device. It returns
// the program's answer and the packet that it leaves.
func (n *Node) RunProgram(name string, index int, mark uint32, packet []byte) (int32, []byte, uint32, error) {
	programs := map[string]*ebpf.Program{
		"from_pod": n.objects.FromPod, "to_pod": n.objects.ToPod, "from_uplink": n.objects.FromUplink, "to_uplink": n.objects.ToUplink,
	}
	var skb, after [48]uint32 // struct __sk_buff
	skb[2], skb[10] = mark, uint32(index)
	out := make([]byte, len(packet)+256)
	options := &ebpf.RunOptions{Data: packet, DataOut: out, Context: &skb, ContextOut: &after}
	answer, err := programs[name].Run(options)
	if err != nil {
		return 0, nil, 0, fmt.Errorf("run %s: %w", name, err)
	}
	return int32(answer), options.DataOut, after[2], nil
}

// Break has nothing be written to a map of Services until mend.
func (n *Node) Break(t *testing.T, name string) (mend func()) {
	t.Helper()
	at := map[string]**ebpf.Map{"frontends": &n.objects.Frontends, "vips": &n.services.vips.Map}[name]
	whole := *at
	closed, err := whole.Clone()
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	*at = closed
	return func() { *at = whole }
}
