package cli

import (
	"fmt"
	"io"

	"github.com/waggle-mesh/waggle/internal/standalone"
)

// PrintReport prints what `waggle analyze` found. Unless all is set, tables
// leave out the conditions that are as they should be.
func PrintReport(w io.Writer, r *standalone.Report, f Format, all bool) error {
	return f.print(w, r, func(w io.Writer) {
		var rows [][]string
		for _, c := range r.Conditions {
			if all || !c.Good {
				rows = append(rows, conditionRow(c))
			}
		}
		columns(w, conditionTitle, rows)
		if len(rows) > 0 {
			fmt.Fprintln(w)
		}
		problems(w, r.Problems)
		fmt.Fprintf(w, "%s read: ", plural(r.Objects, "object"))
		if r.OK() {
			fmt.Fprintln(w, "all would be served as they are written")
			return
		}
		fmt.Fprintf(w, "%s not as they should be, %s in files\n", plural(r.Bad, "object"), plural(r.Errors, "error"))
	})
}

var conditionTitle = []string{"", "KIND", "NAME", "AT", "PART", "CONDITION", "STATUS", "REASON", "MESSAGE"}

func conditionRow(c standalone.Condition) []string {
	mark, name := "✗", c.Name
	if c.Good {
		mark = "✓"
	}
	if c.Namespace != "" {
		name = c.Namespace + "/" + c.Name
	}
	at := ""
	if c.File != "" {
		at = fmt.Sprintf("%s:%d", c.File, c.Line)
	}
	return []string{mark, c.Kind, name, orDash(at), orDash(c.Section), c.Type, c.Status, c.Reason, c.Message}
}

// problems are printed as compilers do, for editors to follow.
func problems(w io.Writer, all []standalone.Problem) {
	for _, p := range all {
		fmt.Fprintf(w, "%s:%d: %s: ", p.File, p.Line, p.Severity)
		for _, part := range []string{p.Object, p.Field} {
			if part != "" {
				fmt.Fprintf(w, "%s: ", part)
			}
		}
		fmt.Fprint(w, p.Message)
		if p.Stale {
			fmt.Fprint(w, " (the version before goes on serving)")
		}
		fmt.Fprintln(w)
	}
	if len(all) > 0 {
		fmt.Fprintln(w)
	}
}
