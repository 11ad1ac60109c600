package cli

import (
	"cmp"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/waggle-mesh/waggle/internal/agent/daemon"
	"github.com/waggle-mesh/waggle/internal/envoyconfig"
)

// PrintConfigs prints the objects that a node's Envoy is given.
func PrintConfigs(w io.Writer, all []daemon.ConfigStatus, f Format) error {
	return f.print(w, all, func(w io.Writer) {
		var rows [][]string
		for _, c := range all {
			var services []string
			for _, s := range c.Services {
				services = append(services, ledName(s))
			}
			rows = append(rows, []string{c.Object, strconv.FormatInt(c.Generation, 10), strconv.Itoa(len(c.Resources)), cmp.Or(strings.Join(services, " "), "-")})
		}
		section(w, []string{"OBJECT", "GENERATION", "RESOURCES", "SERVICES"}, rows)
	})
}

// ledName is "shop/web:80,443", marked while Envoy does not have the listener.
func ledName(s daemon.LedStatus) string {
	ports := strings.Trim(strings.ReplaceAll(fmt.Sprint(s.Ports), " ", ","), "[]")
	if !s.Live {
		return s.Service + ":" + ports + "(waiting)"
	}
	return s.Service + ":" + ports
}

// PrintExplained prints what the connections of a Service meet.
func PrintExplained(w io.Writer, all []daemon.ConfigStatus, f Format) error {
	return f.print(w, all, func(w io.Writer) {
		for _, c := range all {
			for _, s := range c.Services {
				fmt.Fprintf(w, "%s is led by %s to listener %s\n", ledName(s), c.Object, s.Listener)
				if c.Generated {
					fmt.Fprintln(w, "  whose routes are a Gateway's")
				}
				for i, r := range s.Rules {
					fmt.Fprintf(w, "  %d. %s\n", i+1, ruleName(r))
					for _, to := range r.To {
						fmt.Fprintf(w, "       %s\n", targetName(to))
					}
				}
			}
		}
	})
}

// ruleName is what a rule is for, and what it does.
func ruleName(r envoyconfig.Rule) string {
	words := []string{}
	if r.Connections != "" {
		words = append(words, "connections "+r.Connections)
	}
	if len(r.Hosts) > 0 {
		words = append(words, "hosts "+strings.Join(r.Hosts, " "))
	}
	if r.Match != "" {
		words = append(words, r.Match)
	}
	return strings.Join(append(words, r.Action), ": ")
}

func targetName(t envoyconfig.Target) string {
	text := "cluster " + t.Cluster
	if t.Weight > 0 {
		text += fmt.Sprintf(" (weight %d)", t.Weight)
	}
	switch {
	case t.Assignment == "":
		return text
	case len(t.Endpoints) == 0:
		return text + ": " + t.Assignment + " has no endpoints"
	}
	return text + ": " + strings.Join(t.Endpoints, " ")
}
