package cli

import (
	"fmt"
	"io"

	"github.com/waggle-mesh/waggle/internal/link/view"
)

// PrintNetwork prints what a node's kernel has.
func PrintNetwork(w io.Writer, n view.Network, f Format) error {
	return f.print(w, n, func(w io.Writer) {
		for _, kind := range []struct {
			name  string
			lines []string
		}{
			{"unread", n.Unread}, {"links", n.Links}, {"addresses", n.Addresses}, {"neighbours", n.Neighbours},
			{"rules", n.Rules}, {"routes", n.Routes}, {"nftables", n.Nftables},
		} {
			if len(kind.lines) > 0 {
				fmt.Fprintf(w, "%s:\n", kind.name)
			}
			for _, line := range kind.lines {
				fmt.Fprintf(w, "  %s\n", line)
			}
		}
	})
}
