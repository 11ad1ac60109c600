package datapath_test

import (
	"testing"

	"github.com/waggle-mesh/waggle/internal/datapath"
	"github.com/waggle-mesh/waggle/test/nodes"
)

func TestMain(m *testing.M) { nodes.Main(m.Run) }

func TestOpen(t *testing.T) {
	g := nodes.New(t)
	n := g.Nodes[0]
	n.Do(t, func() error {
		node, err := datapath.Open(datapath.Options{BPFFS: n.BPFFS, Cgroup: n.Root, Uplink: "eth0", IPv4: n.Addr4, IPv6: n.Addr6})
		if err != nil {
			return err
		}
		return node.Close()
	})
}
