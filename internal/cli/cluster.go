package cli

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/survey"
)

// PrintClusterStatus prints how Waggle does in a cluster, in Cilium's form.
func PrintClusterStatus(w io.Writer, s *survey.Status, f Format) error {
	return f.print(w, s, func(w io.Writer) {
		for _, c := range s.Components {
			fmt.Fprintf(w, "    %-19s %s\n", c.Name+":", c.State)
		}
		fmt.Fprintln(w)
		for _, l := range s.Workloads {
			fmt.Fprintf(w, "%-22s %-18s Desired: %d, Ready: %d/%d, Available: %d/%d\n", l.Kind, l.Name, l.Desired, l.Ready, l.Desired, l.Available, l.Desired)
		}
		labelled(w, "Containers:", s.Workloads, func(l survey.Workload) string { return strings.Join(s.PhasesOf(l.Name), ", ") })
		fmt.Fprintf(w, "%-22s %d/%d managed by Cilium\n", "Cluster Pods:", s.Pods.Managed, s.Pods.All)
		fmt.Fprintf(w, "%-22s %d/%d programmed\n", "Gateways:", s.Gateways.Programmed, s.Gateways.All)
		fmt.Fprintf(w, "%-22s %s\n", "Helm chart version:", orDash(s.Chart))
		images := s.Images()
		labelled(w, "Image versions", s.Workloads, func(l survey.Workload) string { return images[l.Name] })
		labelled(w, "Kinds that are off:", s.MissingKinds, func(kind string) string { return kind + ": the cluster has no such definition" })
		labelled(w, "Errors:", s.Errors, func(text string) string { return text })
		printProblems(w, s.Rejected)
	})
}

// labelled prints a line for each of a list, with a title before the first. A
// workload's name stands before its text.
func labelled[T any](w io.Writer, title string, all []T, text func(T) string) {
	for _, one := range all {
		if l, ok := any(one).(survey.Workload); ok {
			fmt.Fprintf(w, "%-22s %-18s %s\n", title, l.Name, text(one))
		} else {
			fmt.Fprintf(w, "%-22s %s\n", title, text(one))
		}
		title = ""
	}
}

// printProblems prints users' objects that are not served as they are written.
func printProblems(w io.Writer, all []survey.Problem) {
	var rows [][]string
	for _, p := range all {
		name := model.Name{Namespace: p.Namespace, Name: p.Name}.String()
		rows = append(rows, []string{p.Kind, name, orDash(p.Section), p.Type, p.Reason, p.Message})
	}
	section(w, []string{"NOT SERVED", "NAME", "PART", "CONDITION", "REASON", "MESSAGE"}, rows)
}

// PrintConfig prints settings in order, as Cilium does: for cut and awk.
func PrintConfig(w io.Writer, values map[string]string, f Format) error {
	return f.print(w, values, func(w io.Writer) {
		for _, name := range slices.Sorted(maps.Keys(values)) {
			fmt.Fprintf(w, "%s\t%s\n", name, values[name])
		}
	})
}

// PrintGateways prints a line for each Gateway.
func PrintGateways(w io.Writer, all []survey.Gateway, f Format) error {
	return f.print(w, all, func(w io.Writer) {
		var rows [][]string
		for _, g := range all {
			acknowledged := 0
			for _, n := range g.Nodes {
				if n.Acknowledged {
					acknowledged++
				}
			}
			rows = append(rows, []string{
				g.Namespace, g.Name, g.Class, orDash(strings.Join(g.Addresses, ",")), programmed(g.Programmed),
				fmt.Sprint(len(g.Listeners)), fmt.Sprint(len(g.Routes)), fmt.Sprintf("%d/%d", acknowledged, len(g.Nodes)),
			})
		}
		columns(w, []string{"NAMESPACE", "NAME", "CLASS", "ADDRESS", "PROGRAMMED", "LISTENERS", "ROUTES", "NODES"}, rows)
	})
}

func programmed(is bool) string {
	if is {
		return "True"
	}
	return "False"
}

// PrintGateway prints all of a Gateway.
func PrintGateway(w io.Writer, g *survey.Gateway, f Format) error {
	return f.print(w, g, func(w io.Writer) {
		fmt.Fprintf(w, "Gateway %s/%s of class %s, since %s\n", g.Namespace, g.Name, g.Class, g.Created.UTC().Format("2006-01-02 15:04:05"))
		fmt.Fprintf(w, "Addresses: %s\nProgrammed: %s\n", orDash(strings.Join(g.Addresses, ", ")), programmed(g.Programmed))
		var rows [][]string
		for _, l := range g.Listeners {
			host := l.Hostname
			if host == "" {
				host = "*"
			}
			rows = append(rows, []string{l.Name, fmt.Sprint(l.Port), l.Protocol, host, fmt.Sprint(l.Routes), l.State})
		}
		section(w, []string{"LISTENER", "PORT", "PROTOCOL", "HOSTNAME", "ROUTES", "STATE"}, rows)
		rows = nil
		for _, r := range g.Routes {
			rows = append(rows, []string{r.Kind + " " + r.Namespace + "/" + r.Name, orDash(r.Listener), orDash(strings.Join(r.Hostnames, ",")), fmt.Sprint(r.Rules), r.State})
		}
		section(w, []string{"ROUTE", "LISTENER", "HOSTNAMES", "RULES", "STATE"}, rows)
		rows = nil
		for _, n := range g.Nodes {
			rows = append(rows, append([]string{n.Node}, answerRow(n)...))
		}
		section(w, []string{"NODE", "GENERATION", "ENVOY"}, rows)
		printProblems(w, g.Problems)
	})
}

func answerRow(n survey.NodeAnswer) []string {
	switch {
	case len(n.Rejected) > 0:
		return []string{fmt.Sprint(n.Generation), "rejects " + strings.Join(n.Rejected, "; ")}
	case n.Silent:
		return []string{"-", "has never been heard of"}
	case n.Acknowledged:
		return []string{fmt.Sprint(n.Generation), "serves it"}
	case n.Generation == 0:
		return []string{"-", "has not answered yet"}
	}
	return []string{fmt.Sprint(n.Generation), "serves an earlier one"}
}
