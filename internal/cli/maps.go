package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/waggle-mesh/waggle/internal/datapath"
)

// PrintMaps prints maps and how full they are.
func PrintMaps(w io.Writer, all []datapath.MapInfo, f Format) error {
	return f.print(w, all, func(w io.Writer) { columns(w, mapTitle, mapRows(all)) })
}

var mapTitle = []string{"Name", "Type", "Num entries", "Limit", "Full", "Also called"}

func mapRows(all []datapath.MapInfo) (rows [][]string) {
	for _, m := range all {
		entries, full := "-", "-"
		if m.Entries >= 0 && m.Limit > 0 {
			entries, full = fmt.Sprint(m.Entries), fmt.Sprintf("%.1f %%", 100*float64(m.Entries)/float64(m.Limit))
		}
		rows = append(rows, []string{m.Name, m.Type, entries, fmt.Sprint(m.Limit), full, orDash(strings.Join(m.Aliases, " "))})
	}
	return rows
}

// PrintMap prints what a map holds, with Cilium's columns. A map is read as
// it is, so there is no state but "sync" and no error.
func PrintMap(w io.Writer, all []datapath.Row, f Format) error {
	return f.print(w, all, func(w io.Writer) {
		var rows [][]string
		for _, r := range all {
			rows = append(rows, []string{r.Key, r.Value, "sync", ""})
		}
		columns(w, []string{"Key", "Value", "State", "Error"}, rows)
	})
}
