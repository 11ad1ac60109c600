package world

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// established is the state of a connection in /proc/net/tcp, see proc(5).
const established = "01"

// Connections counts the connections that a process has to an address.
func Connections(pid int, to netip.AddrPort) (int, error) {
	own := map[string]bool{} // by inode
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil || len(links) == 0 {
		return 0, fmt.Errorf("read the sockets of process %d: it is gone", pid)
	}
	for _, link := range links {
		target, _ := os.Readlink(link)
		if inode, ok := strings.CutPrefix(target, "socket:["); ok {
			own[strings.TrimSuffix(inode, "]")] = true
		}
	}
	table := "tcp"
	if to.Addr().Is6() {
		table = "tcp6"
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, table))
	if err != nil {
		return 0, err
	}
	count, there := 0, inTable(to)
	for line := range strings.Lines(string(text)) {
		const remote, state, inode = 2, 3, 9
		if f := strings.Fields(line); len(f) > inode && f[state] == established && f[remote] == there && own[f[inode]] {
			count++
		}
	}
	return count, nil
}

// inTable writes an address as /proc/net/tcp does: words in the machine's order.
func inTable(a netip.AddrPort) string {
	var b strings.Builder
	for word := range slices.Chunk(a.Addr().AsSlice(), 4) {
		fmt.Fprintf(&b, "%08X", binary.NativeEndian.Uint32(word))
	}
	fmt.Fprintf(&b, ":%04X", a.Port())
	return b.String()
}
