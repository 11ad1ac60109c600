package cli

import (
	"fmt"
	"io"
	"time"

	operator "github.com/waggle-mesh/waggle/internal/operator/daemon"
)

// PrintOperatorStatus prints what an operator says of itself.
func PrintOperatorStatus(w io.Writer, s *operator.Status, f Format) error {
	return f.print(w, s, func(w io.Writer) {
		fmt.Fprintf(w, "waggle %s is an operator, pid %d, since %s\n", s.Version, s.PID, s.Since.Format(time.DateTime))
		word := "It reads, and waits for its turn to lead"
		if s.Leads {
			word = "It leads"
		}
		fmt.Fprintf(w, "%s, as %s\n", word, s.Identity)
		kinds(w, s.APIServer, s.Kinds)
		var rows [][]string
		for _, f := range s.Failing {
			rows = append(rows, []string{f.Output, f.Row, f.Error})
		}
		section(w, []string{"NOT WRITTEN", "ROW", "REASON"}, rows)
	})
}
