package gateway

import (
	"cmp"
	"reflect"
	"slices"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/waggle-mesh/waggle/internal/gateway/field"
	"github.com/waggle-mesh/waggle/internal/model"
)

// Standing says whose a Gateway is.
type Standing int

const (
	// Unclaimed Gateways name a GatewayClass that does not exist. A route's
	// parent is also unclaimed if it does not exist or is not a Gateway.
	Unclaimed Standing = iota
	// Foreign Gateways belong to another controller; nothing is said of them.
	Foreign
	// Ours are served.
	Ours
)

// Gateway is what became of a Gateway.
type Gateway struct {
	Name       model.Name
	Generation int64
	Class      string
	Standing   Standing
	// Problem says why the Gateway is not accepted as a whole; then none of
	// its listeners is served.
	Problem Problem
	// Held: the settings of the class cannot be used. What was made for the
	// Gateway stays as it is until they can, and nothing is made.
	Held bool
	// Warning names what of the spec is without effect; "" where all has one.
	Warning string
	// Listeners stand in the spec's order. They are judged, and have no
	// duplicates by name. Only Gateways of ours have any.
	Listeners []Listener
}

// Key is the Gateway's name.
func (g Gateway) Key() string { return g.Name.String() }

// Equal tells whether g and other say the same.
func (g Gateway) Equal(other Gateway) bool { return reflect.DeepEqual(g, other) }

// Gateway judges a Gateway and its listeners.
func (s Stage) Gateway(w World, gw *gatewayv1.Gateway) Gateway {
	out := Gateway{
		Name:       model.Name{Namespace: gw.Namespace, Name: gw.Name},
		Generation: gw.Generation,
		Class:      string(gw.Spec.GatewayClassName),
	}
	class, ok := w.Class(out.Class)
	switch {
	case !ok:
		return out
	case !class.Ours:
		out.Standing = Foreign
		return out
	}
	out.Standing = Ours
	out.Problem, out.Held = gatewayProblem(class, gw), !class.Problem.OK()
	out.Warning = overruled(gw)
	out.Listeners = s.listeners(w, gw)
	for i := range out.Listeners {
		l := &out.Listeners[i]
		l.Served = out.Problem.OK() && l.Problem.OK()
	}
	return out
}

// gatewayProblem looks for what is wrong apart from the listeners. Settings
// that would make the Gateway safer are refused while they have no effect.
func gatewayProblem(class Class, gw *gatewayv1.Gateway) Problem {
	if !class.Problem.OK() {
		return field.New(gatewayv1.GatewayReasonInvalidParameters,
			"spec.gatewayClassName: GatewayClass %s is not accepted: %s", class.Name, class.Problem.Message)
	}
	if n := len(gw.Spec.Listeners); n > maxListeners {
		return field.New(gatewayv1.GatewayReasonInvalid, "spec.listeners: there are %d; use at most %d", n, maxListeners)
	}
	for i, a := range gw.Spec.Addresses {
		if t := field.Or(a.Type, gatewayv1.IPAddressType); t != gatewayv1.IPAddressType {
			return field.New(gatewayv1.GatewayReasonUnsupportedAddress,
				"spec.addresses[%d].type: %s is not supported; use %s", i, field.Quoted(string(t)), gatewayv1.IPAddressType)
		}
	}
	if in := gw.Spec.Infrastructure; in != nil && in.ParametersRef != nil {
		return field.New(gatewayv1.GatewayReasonInvalidParameters,
			"spec.infrastructure.parametersRef: %s %s is not supported; remove the reference",
			in.ParametersRef.Kind, field.Quoted(in.ParametersRef.Name))
	}
	if tls := gw.Spec.TLS; tls != nil {
		if tls.Backend != nil && tls.Backend.ClientCertificateRef != nil {
			return field.New(gatewayv1.GatewayReasonInvalid,
				"spec.tls.backend.clientCertificateRef: client certificates are not supported; remove the field")
		}
		if f := tls.Frontend; f != nil && (f.Default.Validation != nil || slices.ContainsFunc(f.PerPort, validates)) {
			return field.New(gatewayv1.GatewayReasonInvalid,
				"spec.tls.frontend: validation of clients' certificates is not supported; remove the field")
		}
	}
	return Problem{}
}

// AddressAnnotations ask for addresses of a Gateway's Service, where
// spec.addresses does not; the newer one first.
var AddressAnnotations = []gatewayv1.AnnotationKey{"lbipam.cilium.io/ips", "io.cilium/lb-ipam-ips"}

// overruled warns of annotations in whose place spec.addresses holds.
func overruled(gw *gatewayv1.Gateway) string {
	if gw.Spec.Infrastructure == nil || !slices.ContainsFunc(gw.Spec.Addresses, func(a gatewayv1.GatewaySpecAddress) bool { return a.Value != "" }) {
		return ""
	}
	for _, name := range AddressAnnotations {
		if _, ok := gw.Spec.Infrastructure.Annotations[name]; ok {
			return "spec.infrastructure.annotations: " + field.Quoted(string(name)) + " has no effect, as there are spec.addresses"
		}
	}
	return ""
}

func validates(p gatewayv1.TLSPortConfig) bool { return p.TLS.Validation != nil }

// EnvoyListeners are the ports that answer, each with the chains of the
// listeners that share it, sorted by port.
func (g Gateway) EnvoyListeners() []model.Listener {
	var out []model.Listener
	for _, l := range g.Listeners {
		if !l.Programmable() {
			continue
		}
		chain := model.Chain{Table: l.table(g.Name)}
		if l.Protocol == model.HTTPS {
			chain.Hostname = l.Hostname
			chain.Certificates = l.Certificates
		}
		i := slices.IndexFunc(out, func(o model.Listener) bool { return o.Port == l.Port })
		switch {
		case i < 0:
			out = append(out, model.Listener{
				Gateway: g.Name, Port: l.Port, BindPort: l.BindPort, Protocol: l.Protocol,
				Chains: []model.Chain{chain},
			})
		case l.Protocol == model.HTTPS:
			out[i].Chains = append(out[i].Chains, chain)
		}
	}
	slices.SortFunc(out, func(a, b model.Listener) int { return cmp.Compare(a.Port, b.Port) })
	for _, l := range out {
		slices.SortFunc(l.Chains, func(a, b model.Chain) int { return cmp.Compare(a.Hostname, b.Hostname) })
	}
	return out
}

// Certificates name the Secrets whose certificates are presented, sorted.
func (g Gateway) Certificates() []model.Name {
	var out []model.Name
	for _, l := range g.Listeners {
		if l.Programmable() {
			out = append(out, l.Certificates...)
		}
	}
	slices.SortFunc(out, model.Name.Compare)
	return slices.Compact(out)
}

// Attachments hold the hosts of the listeners themselves, so that each
// answers, 404 where it has no route, and takes its hosts from listeners that
// are less specific. With TLS, a request for another listener's host is on
// the wrong connection and answers 421.
func (g Gateway) Attachments() []Attachment {
	var out []Attachment
	for _, l := range g.Listeners {
		if !l.Served {
			continue
		}
		table := l.table(g.Name)
		out = append(out, Attachment{Table: table, Host: hostOrAny(l.Hostname)})
		if l.Protocol != model.HTTPS {
			continue
		}
		for _, other := range g.Listeners {
			if other.Served && other.Port == l.Port && other.Hostname != l.Hostname {
				out = append(out, Attachment{Table: table, Host: hostOrAny(other.Hostname), Misdirected: true})
			}
		}
	}
	return out
}

// Parent is what routes see of the Gateway.
func (g Gateway) Parent() Parent {
	out := Parent{Name: g.Name, Standing: g.Standing, Listeners: make([]ParentListener, len(g.Listeners))}
	for i, l := range g.Listeners {
		out.Listeners[i] = l.ParentListener
	}
	return out
}
