package datapath

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cilium/ebpf"

	"github.com/waggle-mesh/waggle/internal/datapath/kernel"
	"github.com/waggle-mesh/waggle/internal/model"
)

// ConntrackCount is how full the connection table is.
type ConntrackCount struct {
	Entries int // two for each connection
	Limit   int
	Removed int // by this Collect: past their time
}

const conntrackBatch = 4096

// connections calls f for every entry; those for which it answers true, again
// just before, are removed: a new connection may have taken the entry since.
func (n *Node) connections(f func(nodeConnKey, nodeConn) (remove bool)) (entries, removed int, err error) {
	keys, values := make([]nodeConnKey, conntrackBatch), make([]nodeConn, conntrackBatch)
	var cursor ebpf.MapBatchCursor
	for {
		count, err := n.objects.Conntrack.BatchLookup(&cursor, keys, values, nil)
		end := errors.Is(err, ebpf.ErrKeyNotExist)
		if err != nil && !end {
			return entries, removed, fmt.Errorf("read connections: %w", err)
		}
		entries += count
		for i := range count {
			if !f(keys[i], values[i]) {
				continue
			}
			done, err := n.removeConnection(keys[i], f)
			if err != nil {
				return entries, removed, fmt.Errorf("remove a connection: %w", err)
			}
			if done {
				removed++
			}
		}
		if end {
			return entries, removed, nil
		}
	}
}

// removeConnection removes an entry if f still says so of what it is now. What
// changes in this very moment is put back.
func (n *Node) removeConnection(key nodeConnKey, f func(nodeConnKey, nodeConn) bool) (done bool, err error) {
	var now nodeConn
	err = n.objects.Conntrack.Lookup(key, &now)
	if err == nil && !f(key, now) {
		return false, nil
	}
	if err == nil {
		err = n.objects.Conntrack.LookupAndDelete(key, &now)
	}
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return false, nil
	}
	if err != nil || f(key, now) {
		return err == nil, err
	}
	err = n.objects.Conntrack.Update(key, now, ebpf.UpdateNoExist)
	if errors.Is(err, ebpf.ErrKeyExist) { // and is newer
		err = nil
	}
	return false, err
}

// Collect removes connections that have been silent for their time, and
// counts. The programs do not use such entries; to remove them spares living
// ones when the table fills up.
func (n *Node) Collect() (ConntrackCount, error) {
	now, err := kernel.Monotonic()
	if err != nil {
		return ConntrackCount{}, err
	}
	entries, removed, err := n.connections(func(key nodeConnKey, c nodeConn) bool {
		return time.Duration(c.Seen)+lifetime(key, c) < now
	})
	return ConntrackCount{Entries: entries - removed, Limit: int(n.objects.Conntrack.MaxEntries()), Removed: removed}, err
}

// lifetime is conn_lifetime of bpf/conntrack.h.
func lifetime(key nodeConnKey, c nodeConn) time.Duration {
	ended := c.Flags&connReset != 0 || c.Flags&connFIN != 0 && c.Flags&(connFINBack|connProxy) != 0
	answered := c.Flags&connAnswered != 0
	switch {
	case key.Proto == uint8(model.TCP) && answered && !ended:
		return 8000 * time.Second
	case key.Proto != uint8(model.TCP) && answered:
		return 180 * time.Second
	}
	return 60 * time.Second
}

// forgetBackends removes the requests' side of conversations with UDP backends
// that serve no more, so that the next packet finds another. What answers what
// was asked before is translated for as long as it was.
func (n *Node) forgetBackends(gone []nodeBackend) error {
	if len(gone) == 0 {
		return nil
	}
	_, _, err := n.connections(func(key nodeConnKey, c nodeConn) bool {
		return c.Flags&connDNAT != 0 && among(gone, nodeBackend{Addr: c.Dst, Port: c.Dport, Proto: key.Proto})
	})
	return err
}

func among(backends []nodeBackend, b nodeBackend) bool {
	return slices.ContainsFunc(backends, func(other nodeBackend) bool {
		b.Flags = other.Flags
		return b == other
	})
}
