package cli

import (
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"github.com/waggle-mesh/waggle/internal/agent/daemon"
	"github.com/waggle-mesh/waggle/internal/kube"
	"github.com/waggle-mesh/waggle/internal/model"
)

// PrintAgentStatus prints what an agent says of itself.
func PrintAgentStatus(w io.Writer, s *daemon.Status, f Format) error {
	return f.print(w, s, func(w io.Writer) {
		summary(w, s)
		fmt.Fprintf(w, "waggle %s is the agent of node %s, pid %d, since %s\n", s.Version, s.Node, s.PID, s.Since.Format(time.DateTime))
		if s.Phase.Waiting != "" {
			fmt.Fprintf(w, "No pod can start: waiting %s, since %s\n", s.Phase.Waiting, s.Phase.Since.Format(time.DateTime))
		} else {
			fmt.Fprintf(w, "%s of this node, %s of Services\n", plural(s.Pods, "pod"), plural(s.Frontends, "frontend"))
		}
		kinds(w, s.APIServer, s.Kinds)
		var rows [][]string
		for _, u := range s.PodCIDRs {
			rows = append(rows, []string{u.Prefix.String(), fmt.Sprint(u.Used), fmt.Sprint(u.Capacity)})
		}
		section(w, []string{"POD CIDR", "IN USE", "ADDRESSES"}, rows)
		rows = nil
		for _, e := range s.Envoys {
			does := "gives way to another"
			if e.Active {
				does = "gets new connections"
			}
			rows = append(rows, []string{fmt.Sprint(e.PID), e.Since.Format(time.DateTime), does})
		}
		section(w, []string{"ENVOY", "SINCE", "DOES"}, rows)
		rows = nil
		for _, r := range s.Rejected {
			object := model.Name{Namespace: r.Namespace, Name: r.Name}
			rows = append(rows, []string{object.String(), r.Type, r.Resource, r.Message})
		}
		section(w, []string{"OBJECT", "TYPE", "REJECTED BY ENVOY", "ENVOY SAYS"}, rows)
		rows = nil
		for _, m := range s.Maps {
			if m.Entries >= 0 && m.Limit > 0 {
				rows = append(rows, []string{m.Name, fmt.Sprint(m.Entries), fmt.Sprint(m.Limit), fmt.Sprintf("%.1f %%", 100*float64(m.Entries)/float64(m.Limit))})
			}
		}
		section(w, []string{"MAP", "ENTRIES", "LIMIT", "FULL"}, rows)
		agentTroubles(w, s)
	})
}

// summary is what of Cilium's status its readers look for, in its words and order,
// as far as it is so here.
func summary(w io.Writer, s *daemon.Status) {
	line := func(name, text string) { fmt.Fprintf(w, "%-25s%s\n", name+":", text) }
	api := "Ok"
	for _, k := range s.Kinds {
		if k.Error != "" {
			api = fmt.Sprintf("Failing: %s: %s", k.Kind, k.Error)
		}
	}
	agent := "Ok"
	if !s.OK() {
		agent = "Failing: see below"
	}
	line("Kubernetes", api)
	line("KubeProxyReplacement", "True")
	line("Cilium", agent+"   waggle "+s.Version)
	var ranges []string
	for _, u := range s.PodCIDRs {
		ranges = append(ranges, fmt.Sprintf("%s: %d/%d allocated from %s", family(u.Prefix), u.Used, u.Capacity, u.Prefix))
	}
	line("IPAM", orDash(strings.Join(ranges, ", ")))
	line("Routing", "Network: Native   Host: BPF")
	line("Masquerading", "BPF")
	line("Proxy Status", proxyStatus(s))
	fmt.Fprintln(w)
}

func family(p netip.Prefix) string {
	if p.Addr().Is4() {
		return "IPv4"
	}
	return "IPv6"
}

// proxyStatus says whether an Envoy gets the node's connections.
func proxyStatus(s *daemon.Status) string {
	for _, e := range s.Envoys {
		if e.Active {
			return fmt.Sprintf("OK, %s rejected, Envoy: external", plural(len(s.Rejected), "resource"))
		}
	}
	return "No Envoy is connected"
}

// kinds are what is read from the API server.
func kinds(w io.Writer, server string, all []kube.KindStatus) {
	fmt.Fprintf(w, "API server: %s\n", server)
	var rows [][]string
	for _, k := range all {
		state := "synced"
		switch {
		case k.Missing:
			state = "off: the API server does not have this kind"
		case k.Error != "":
			state = k.Error
		case !k.Synced:
			state = "being read"
		}
		name := k.Kind
		if k.Only != "" {
			name += " (" + k.Only + ")"
		}
		rows = append(rows, []string{name, fmt.Sprint(k.Objects), state})
	}
	section(w, []string{"KIND", "OBJECTS", "STATE"}, rows)
}

func agentTroubles(w io.Writer, s *daemon.Status) {
	var rows [][]string
	for _, f := range s.Failing {
		rows = append(rows, []string{f.Output, f.Row, f.Error})
	}
	section(w, []string{"NOT WRITTEN", "ROW", "REASON"}, rows)
	rows = nil
	for _, u := range s.Unsupported {
		rows = append(rows, []string{u.Object, u.Field})
	}
	section(w, []string{"OBJECT", "WITHOUT EFFECT"}, rows)
}

// PrintEndpoints prints the pods of a node, with Cilium's columns.
func PrintEndpoints(w io.Writer, all []daemon.EndpointStatus, f Format) error {
	return f.print(w, all, func(w io.Writer) {
		var rows [][]string
		for _, e := range all {
			labels := "-"
			if len(e.Labels) > 0 {
				labels = e.Labels[0]
			}
			rows = append(rows, []string{fmt.Sprint(e.ID), "Disabled", "Disabled", fmt.Sprint(e.Identity), labels, address(e.IPv6), address(e.IPv4), e.State, e.Pod})
			for i := 1; i < len(e.Labels); i++ {
				rows = append(rows, []string{"", "", "", "", e.Labels[i], "", "", "", ""})
			}
		}
		columns(w, []string{"ENDPOINT", "POLICY (ingress)", "POLICY (egress)", "IDENTITY", "LABELS (source:key[=value])", "IPv6", "IPv4", "STATUS", "POD"}, rows)
	})
}

func address(a netip.Addr) string {
	if !a.IsValid() {
		return "-"
	}
	return a.String()
}

// PrintServices prints where Services answer.
func PrintServices(w io.Writer, all []daemon.ServiceStatus, f Format) error {
	return f.print(w, all, func(w io.Writer) {
		var rows [][]string
		for _, s := range all {
			backends := strings.Join(s.Backends, " ")
			if s.Type != "ClusterIP" && strings.Join(s.Outside, " ") != backends {
				backends += " (from outside: " + orDash(strings.Join(s.Outside, " ")) + ")"
			}
			rows = append(rows, []string{s.Frontend, s.Type, fmt.Sprintf("%s:%d", s.Service, s.Port), orDash(backends)})
		}
		columns(w, []string{"FRONTEND", "TYPE", "SERVICE", "BACKENDS"}, rows)
	})
}
