package gateway

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/waggle-mesh/waggle/internal/model"
)

// printer writes model rows as short text, which leaves defaults out:
//
//	listener default/gw:80 HTTP
//	host a.example.com in default/gw:80
//	  GET /prefix → default/service:80
//	  =/exact {header=value} ?parameter~expression → default/service:80 50, 500 50
type printer struct{ strings.Builder }

func (p *printer) line(indent int, format string, args ...any) {
	fmt.Fprintf(p, strings.Repeat("  ", indent)+format+"\n", args...)
}

func (p *printer) listener(l model.Listener) {
	p.line(0, "listener %s:%d %s%s", l.Gateway, l.Port, l.Protocol, optional(l.BindPort != l.Port, " at %d", l.BindPort))
	for _, c := range l.Chains {
		if l.Protocol == model.HTTPS {
			var secrets []string
			for _, s := range c.Certificates {
				secrets = append(secrets, s.String())
			}
			p.line(1, "chain %q: %s", c.Hostname, strings.Join(secrets, ", "))
		}
	}
}

// place is a table as people read it: "default/gw:443 a.example.com".
func place(table string) string {
	parts := strings.Split(table, "|")
	return strings.TrimSpace(fmt.Sprintf("%s/%s:%s %s", parts[0], parts[1], parts[2], parts[3]))
}

func (p *printer) virtualHost(v model.VirtualHost) {
	p.line(0, "host %s in %s%s", v.Host, place(v.Table), optional(v.Misdirected, ": 421"))
	for _, r := range v.Routes {
		p.route(r, v.Routes)
	}
}

// route names the rule that a route comes from where there are several.
func (p *printer) route(r model.Route, among []model.Route) {
	origin := ""
	if slices.ContainsFunc(among, func(o model.Route) bool { return o.Origin.Object != r.Origin.Object }) {
		origin = "  # " + r.Origin.Object.Name.Name
	}
	p.line(1, "%s → %s%s%s", match(r.Match), action(r), optional(r.Origin.Name != "", " (%s)", r.Origin.Name), origin)
	p.headers(2, "request", r.RequestHeaders)
	p.headers(2, "response", r.ResponseHeaders)
	if f := r.Forward; f != nil {
		p.forward(f)
	}
	if c := r.CORS; c != nil {
		p.line(2, "cors origins %q methods %q headers %q expose %q%s age %s", c.AllowOrigins, c.AllowMethods,
			c.AllowHeaders, c.ExposeHeaders, optional(c.AllowCredentials, " credentials"), c.MaxAge)
	}
}

func (p *printer) forward(f *model.Forward) {
	p.rewrite(2, f.Rewrite)
	for _, b := range f.Backends {
		if !b.RequestHeaders.Empty() || !b.ResponseHeaders.Empty() || b.Rewrite != nil {
			p.line(2, "to %s", backend(b.Backend))
			p.headers(3, "request", b.RequestHeaders)
			p.headers(3, "response", b.ResponseHeaders)
			p.rewrite(3, b.Rewrite)
		}
	}
	for _, m := range f.Mirrors {
		p.line(2, "mirror %s%s", backend(m.Backend), optional(m.Numerator != m.Denominator, " %d/%d", m.Numerator, m.Denominator))
	}
	if f.Timeout != 0 || f.BackendTimeout != 0 {
		p.line(2, "timeout %s backend %s", f.Timeout, f.BackendTimeout)
	}
	if f.Retry != nil {
		p.line(2, "retry %d on %v after %s", f.Retry.Attempts, f.Retry.Codes, f.Retry.Backoff)
	}
}

func (p *printer) headers(indent int, of string, m model.HeaderMutation) {
	for _, name := range m.Remove {
		p.line(indent, "%s remove %s", of, name)
	}
	for _, h := range m.Set {
		p.line(indent, "%s set %s: %s", of, h.Name, h.Value)
	}
	for _, h := range m.Add {
		p.line(indent, "%s add %s: %s", of, h.Name, h.Value)
	}
}

func (p *printer) rewrite(indent int, r *model.Rewrite) {
	if r != nil {
		p.line(indent, "rewrite%s%s", optional(r.Host != "", " host %s", r.Host), path(r.Path))
	}
}

func path(r *model.PathRewrite) string {
	switch {
	case r == nil:
		return ""
	case r.Kind == model.ReplaceFullPath:
		return " path " + r.Value
	}
	return " prefix " + r.Value
}

func match(m model.Match) string {
	out := [...]string{model.PathPrefix: "", model.PathExact: "=", model.PathRegex: "~"}[m.Path.Kind] + m.Path.Value
	if m.Method != "" {
		out = m.Method + " " + out
	}
	for _, h := range m.Headers {
		out += " {" + value(h) + "}"
	}
	for _, q := range m.Query {
		out += " ?" + value(q)
	}
	return out
}

func value(m model.ValueMatch) string {
	if m.Regex {
		return m.Name + "~" + m.Value
	}
	return m.Name + "=" + m.Value
}

func action(r model.Route) string {
	switch {
	case r.Respond != nil:
		return fmt.Sprint(r.Respond.Status)
	case r.Redirect != nil:
		d := r.Redirect
		return fmt.Sprintf("%d %s://%s%s%s", d.Status, or(d.Scheme, "_"), or(d.Host, "_"), optional(d.Port != 0, ":%d", d.Port), path(d.Path))
	}
	var out []string
	for _, b := range r.Forward.Backends {
		out = append(out, backend(b.Backend)+optional(len(r.Forward.Backends) > 1, " %d", b.Weight))
	}
	return strings.Join(out, ", ")
}

func backend(b model.Backend) string {
	if b.IsZero() {
		return "500"
	}
	return fmt.Sprintf("%s:%d%s", b.Service, b.Port, optional(b.Protocol != "", " %s", b.Protocol))
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

func optional(ok bool, format string, args ...any) string {
	if !ok {
		return ""
	}
	return fmt.Sprintf(format, args...)
}

// translated is everything that the stage makes of objects.
type translated struct {
	listeners []model.Listener
	hosts     []model.VirtualHost
	gateways  []Gateway
	routes    []Route
}

// translate does what the graph does.
func translate(o *objects) translated {
	var out translated
	hosts := map[string][]Attachment{}
	for _, gw := range o.gateways {
		g := o.stage.Gateway(o, gw)
		out.gateways = append(out.gateways, g)
		out.listeners = append(out.listeners, g.EnvoyListeners()...)
		for _, a := range g.Attachments() {
			hosts[a.VirtualHostKey()] = append(hosts[a.VirtualHostKey()], a)
		}
	}
	for _, route := range o.routes {
		r := o.stage.HTTPRoute(o, route)
		out.routes = append(out.routes, r)
		for _, a := range r.Attachments {
			hosts[a.VirtualHostKey()] = append(hosts[a.VirtualHostKey()], a)
		}
	}
	for _, as := range hosts {
		out.hosts = append(out.hosts, VirtualHost(as[0].Table, as[0].Host, as))
	}
	slices.SortFunc(out.listeners, func(a, b model.Listener) int { return strings.Compare(a.Key(), b.Key()) })
	slices.SortFunc(out.hosts, func(a, b model.VirtualHost) int { return strings.Compare(a.Key(), b.Key()) })
	slices.SortFunc(out.gateways, func(a, b Gateway) int { return a.Name.Compare(b.Name) })
	slices.SortFunc(out.routes, func(a, b Route) int { return a.Object.Compare(b.Object) })
	return out
}

func (x translated) model() string {
	var p printer
	for _, l := range x.listeners {
		p.listener(l)
	}
	for _, v := range x.hosts {
		p.virtualHost(v)
	}
	return p.String()
}

// status writes what is said of every object: "ok" where all conditions are
// as the user would wish them, else those that are not. Listeners of Gateways
// and parents of routes follow their object.
func (x translated) status(o *objects, facts GatewayFacts, outcomes []model.Outcome) string {
	var p printer
	classes := slices.Clone(o.classes)
	slices.SortFunc(classes, func(a, b *gatewayv1.GatewayClass) int { return strings.Compare(a.Name, b.Name) })
	for _, c := range classes {
		class := o.stage.Class(o, c)
		if status := (Stage{}).ClassStatus(class, anyField); !class.Problem.OK() {
			p.conditions(ClassConditions(class, status), nil)
		}
	}
	for _, g := range x.gateways {
		counts := map[string]string{}
		facts.Attached = x.attached(g)
		status := GatewayStatus(g, facts)
		for _, l := range status.Listeners {
			notes := []string{}
			if l.AttachedRoutes > 0 {
				notes = append(notes, fmt.Sprintf("%d attached", l.AttachedRoutes))
			}
			if len(l.SupportedKinds) != 1 {
				notes = append(notes, fmt.Sprintf("%d kinds", len(l.SupportedKinds)))
			}
			counts["listener "+string(l.Name)] = strings.Join(notes, ", ")
		}
		p.conditions(GatewayConditions(g, status), counts)
	}
	for _, r := range x.routes {
		own := slices.DeleteFunc(slices.Clone(outcomes), func(o model.Outcome) bool { return !slices.Contains(o.Owners, r.Object) })
		p.conditions(RouteConditions(r, o.stage.RouteStatus(r, own)), nil)
	}
	return p.String()
}

func (x translated) attached(g Gateway) func(string) int {
	return func(listener string) int {
		n := 0
		for _, r := range x.routes {
			if slices.Contains(r.Memberships, Membership{g.Name, listener}) {
				n++
			}
		}
		return n
	}
}

// conditions writes an object's conditions, with a note for each section.
func (p *printer) conditions(all []model.Condition, notes map[string]string) {
	for len(all) > 0 {
		first := all[0]
		n := slices.IndexFunc(all, func(c model.Condition) bool { return c.Section != first.Section })
		if n < 0 {
			n = len(all)
		}
		name := first.Object.String()
		if first.Section != "" {
			name += " " + first.Section
		}
		bad := slices.DeleteFunc(slices.Clone(all[:n]), func(c model.Condition) bool {
			return c.Good && c.Reason != "ListenersNotValid" && c.Reason != "OverlappingHostnames"
		})
		switch note := notes[first.Section]; {
		case len(bad) == 0:
			p.line(0, "%s: ok%s", name, optional(note != "", ", %s", note))
		case note != "":
			p.line(0, "%s: %s", name, note)
		}
		for _, c := range bad {
			p.line(0, "%s: %s=%s %s %q", name, c.Type, c.Status, c.Reason, c.Message)
		}
		all = all[n:]
	}
}

var testAddress = netip.MustParseAddr("127.0.0.1")
