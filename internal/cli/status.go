package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/waggle-mesh/waggle/internal/standalone"
)

// PrintStatus prints what `waggle status` was told.
func PrintStatus(w io.Writer, s *standalone.Status, f Format) error {
	return f.print(w, s, func(w io.Writer) {
		head(w, s)
		listeners(w, s.Listeners)
		routes(w, s.Routes)
		backends(w, s.Backends)
		resources(w, s)
		if len(s.Conditions) > 0 {
			fmt.Fprintln(w, "\nNot as it should be:")
			var rows [][]string
			for _, c := range s.Conditions {
				rows = append(rows, conditionRow(c))
			}
			columns(w, conditionTitle, rows)
		}
		if len(s.Problems) > 0 {
			fmt.Fprintln(w, "\nFiles:")
			problems(w, s.Problems)
		}
	})
}

func head(w io.Writer, s *standalone.Status) {
	fmt.Fprintf(w, "waggle %s serves %s, pid %d, since %s\n", s.Version, strings.Join(s.Paths, " "), s.PID, s.Since.Format(time.DateTime))
	word := "connected"
	if !s.Envoy.Connected {
		word = "not connected"
	}
	fmt.Fprintf(w, "Envoy %s: %s, %s, pid %d", orDash(s.Envoy.Version), s.Envoy.State, word, s.Envoy.PID)
	if s.Envoy.Adopted {
		fmt.Fprint(w, ", taken over")
	}
	if s.Envoy.Restarts > 0 {
		fmt.Fprintf(w, ", %s", plural(s.Envoy.Restarts, "restart"))
	}
	fmt.Fprintln(w)
}

func listeners(w io.Writer, all []standalone.ListenerStatus) {
	var rows [][]string
	for _, l := range all {
		host := l.Hostname
		if host == "" {
			host = "*"
		}
		rows = append(rows, []string{l.Gateway, l.Name, host, l.URL(), fmt.Sprint(l.Routes), l.State})
	}
	section(w, []string{"GATEWAY", "LISTENER", "HOSTNAME", "ADDRESS", "ROUTES", "STATE"}, rows)
}

func routes(w io.Writer, all []standalone.RouteStatus) {
	var rows [][]string
	for _, r := range all {
		rows = append(rows, []string{r.Route, r.Parent, r.State})
	}
	section(w, []string{"ROUTE", "PARENT", "STATE"}, rows)
}

func backends(w io.Writer, all []standalone.BackendStatus) {
	var rows [][]string
	for _, b := range all {
		name := fmt.Sprintf("%s:%d", b.Service, b.Port)
		switch {
		case b.Endpoints == nil:
			rows = append(rows, []string{name, b.Protocol, "-", "unknown: Envoy has not said"})
		case len(b.Endpoints) == 0:
			rows = append(rows, []string{name, b.Protocol, "-", "no endpoints: answers 503"})
		}
		for _, e := range b.Endpoints {
			health := "healthy"
			if !e.Healthy {
				health = strings.Join(e.Reasons, ", ")
			}
			rows = append(rows, []string{name, b.Protocol, e.Address, health})
		}
	}
	section(w, []string{"BACKEND", "PROTOCOL", "ENDPOINT", "HEALTH"}, rows)
}

func resources(w io.Writer, s *standalone.Status) {
	var rows [][]string
	for _, c := range s.Resources {
		name := c.Type[strings.LastIndex(c.Type, ".")+1:]
		rows = append(rows, []string{name, fmt.Sprint(c.Accepted), fmt.Sprint(c.Pending), fmt.Sprint(c.Rejected)})
	}
	section(w, []string{"ENVOY RESOURCE", "ACKNOWLEDGED", "PENDING", "REJECTED"}, rows)
	rows = nil
	for _, r := range s.Rejected {
		rows = append(rows, []string{r.Type, r.Name, r.Message})
	}
	section(w, []string{"REJECTED", "NAME", "ENVOY SAYS"}, rows)
}

func section(w io.Writer, title []string, rows [][]string) {
	if len(rows) > 0 {
		fmt.Fprintln(w)
	}
	columns(w, title, rows)
}
