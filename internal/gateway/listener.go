package gateway

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/waggle-mesh/waggle/internal/gateway/field"
	"github.com/waggle-mesh/waggle/internal/model"
)

// Listener is what became of a listener of a Gateway.
type Listener struct {
	ParentListener
	// Kinds are the route kinds that it supports, of those it asks for.
	Kinds []gatewayv1.RouteGroupKind
	// Certificates name the Secrets to present, in the spec's order.
	Certificates []model.Name
	// Problem says why the listener is not accepted, Conflict why it is not
	// distinct from others (then that is also its Problem), Unresolved which
	// reference leads nowhere.
	Problem, Conflict, Unresolved Problem
	// Overlap says which other listeners' hosts a client may mistake for
	// this one's when it reuses a TLS connection.
	Overlap Problem
}

// Programmable tells whether Envoy can be told of the listener: it is served
// and, with TLS, has a certificate.
func (l Listener) Programmable() bool {
	return l.Served && (l.Protocol != model.HTTPS || len(l.Certificates) > 0)
}

// maxListeners is how many the API allows.
const maxListeners = 64

// listeners judges a Gateway's listeners, first each alone, then all together.
func (s Stage) listeners(w World, gw *gatewayv1.Gateway) []Listener {
	if len(gw.Spec.Listeners) > maxListeners {
		return nil // which gatewayProblem says
	}
	out := make([]Listener, 0, len(gw.Spec.Listeners))
	var paths []field.Path
	for i := range gw.Spec.Listeners {
		spec, path := &gw.Spec.Listeners[i], field.Path("spec").At("listeners", i)
		same := slices.IndexFunc(out, func(l Listener) bool { return l.Name == string(spec.Name) })
		if same >= 0 {
			out[same].Problem = field.New(gatewayv1.ListenerReasonUnsupportedValue,
				"%s.name: %s is also the name of %s; listeners need distinct names", path, field.Quoted(string(spec.Name)), paths[same])
			continue
		}
		out = append(out, s.listener(w, gw.Namespace, spec, path))
		paths = append(paths, path)
	}
	judgeConflicts(out, paths)
	judgeOverlaps(out)
	return out
}

// listener judges a listener by itself.
func (s Stage) listener(w World, namespace string, spec *gatewayv1.Listener, path field.Path) Listener {
	out := Listener{Kinds: []gatewayv1.RouteGroupKind{}}
	out.Name = string(spec.Name)
	out.Hostname = strings.ToLower(string(field.Value(spec.Hostname)))
	out.Protocol, out.Problem = listenerProtocol(spec, path)
	if spec.Port >= 1 && spec.Port <= 65535 {
		out.Port = uint16(spec.Port)
	}
	if bind := int(spec.Port) + s.PortOffset; out.Port != 0 && bind <= 65535 {
		out.BindPort = uint16(bind)
	}
	if out.Protocol == "" {
		return out
	}
	switch {
	case !out.Problem.OK():
	case out.Port == 0:
		out.Problem = field.New(gatewayv1.ListenerReasonPortUnavailable, "%s.port: %d is no port; use 1 to 65535", path, spec.Port)
	case out.BindPort == 0:
		out.Problem = field.New(gatewayv1.ListenerReasonPortUnavailable,
			"%s.port: %d would answer on %d, as %d is added to ports here; use a port up to %d",
			path, spec.Port, int(spec.Port)+s.PortOffset, s.PortOffset, 65535-s.PortOffset)
	case out.Hostname != "" && !field.ValidHostname(out.Hostname):
		out.Problem = field.New(gatewayv1.ListenerReasonUnsupportedValue,
			"%s.hostname: %s is not a host name; use a DNS name, or one that begins with \"*.\"", path, field.Quoted(out.Hostname))
	}
	out.allow(spec.AllowedRoutes, path.Dot("allowedRoutes"))
	if out.Protocol == model.HTTPS {
		out.Certificates = out.resolve(w, namespace, spec.TLS, path.Dot("tls"))
	}
	return out
}

// listenerProtocol tells what a listener speaks, nothing if it is not served,
// and what is wrong with that.
func listenerProtocol(spec *gatewayv1.Listener, path field.Path) (model.Protocol, Problem) {
	switch spec.Protocol {
	case gatewayv1.HTTPProtocolType:
		if spec.TLS != nil {
			return model.HTTP, field.New(gatewayv1.ListenerReasonUnsupportedValue,
				"%s.tls: protocol HTTP has no TLS; remove tls, or use protocol HTTPS", path)
		}
		return model.HTTP, Problem{}
	case gatewayv1.HTTPSProtocolType:
		if spec.TLS == nil {
			return model.HTTPS, Problem{}
		}
		switch mode := field.Or(spec.TLS.Mode, gatewayv1.TLSModeTerminate); mode {
		case gatewayv1.TLSModeTerminate:
			return model.HTTPS, Problem{}
		case gatewayv1.TLSModePassthrough:
			return "", field.New(gatewayv1.ListenerReasonUnsupportedProtocol,
				"%s.tls.mode: Passthrough is not supported with protocol HTTPS; use Terminate", path)
		default:
			return model.HTTPS, field.New(gatewayv1.ListenerReasonUnsupportedValue,
				"%s.tls.mode: %s is not known; use Terminate", path, field.Quoted(string(mode)))
		}
	}
	return "", field.New(gatewayv1.ListenerReasonUnsupportedProtocol,
		"%s.protocol: %s is not supported; use HTTP or HTTPS", path, field.Quoted(string(spec.Protocol)))
}

// allow fills in which routes may attach.
func (l *Listener) allow(spec *gatewayv1.AllowedRoutes, path field.Path) {
	if spec == nil {
		spec = &gatewayv1.AllowedRoutes{}
	}
	l.allowKinds(spec.Kinds, path)
	l.From = gatewayv1.NamespacesFromSame
	if spec.Namespaces == nil {
		return
	}
	l.From = field.Or(spec.Namespaces.From, gatewayv1.NamespacesFromSame)
	switch l.From {
	case gatewayv1.NamespacesFromAll, gatewayv1.NamespacesFromSame, gatewayv1.NamespacesFromNone:
	case gatewayv1.NamespacesFromSelector:
		selector, err := labelSelector(spec.Namespaces.Selector)
		switch {
		case spec.Namespaces.Selector == nil:
			l.refuse("%s.namespaces.selector: from Selector needs one; add it, or use from Same or All", path)
		case err != nil:
			l.refuse("%s.namespaces.selector: %v", path, err)
		default:
			l.Selector = selector
		}
	default:
		l.refuse("%s.namespaces.from: %s is not known; use Same, All or Selector", path, field.Quoted(string(l.From)))
	}
}

// labelSelector reads a selector. Its labels are read in order, so that of
// several mistakes the same is always found first.
func labelSelector(spec *metav1.LabelSelector) (labels.Selector, error) {
	if spec == nil {
		return labels.Nothing(), nil
	}
	ordered := &metav1.LabelSelector{}
	for _, key := range slices.Sorted(maps.Keys(spec.MatchLabels)) {
		ordered.MatchExpressions = append(ordered.MatchExpressions, metav1.LabelSelectorRequirement{
			Key: key, Operator: metav1.LabelSelectorOpIn, Values: []string{spec.MatchLabels[key]},
		})
	}
	ordered.MatchExpressions = append(ordered.MatchExpressions, spec.MatchExpressions...)
	return metav1.LabelSelectorAsSelector(ordered)
}

// refuse notes that a value is not supported, unless worse is known.
func (l *Listener) refuse(format string, args ...any) {
	if l.Problem.OK() {
		l.Problem = field.New(gatewayv1.ListenerReasonUnsupportedValue, format, args...)
	}
}

func (l *Listener) allowKinds(kinds []gatewayv1.RouteGroupKind, path field.Path) {
	group := gatewayv1.Group(gatewayv1.GroupName)
	http := gatewayv1.RouteGroupKind{Group: &group, Kind: "HTTPRoute"}
	if len(kinds) == 0 {
		l.Routes = true
		l.Kinds = append(l.Kinds, http)
		return
	}
	for i, k := range kinds {
		g := field.Or(k.Group, group)
		switch {
		case g != group || k.Kind != http.Kind:
			if l.Unresolved.OK() {
				l.Unresolved = field.New(gatewayv1.ListenerReasonInvalidRouteKinds,
					"%s: %s of group %s does not go with protocol %s here; use HTTPRoute",
					path.At("kinds", i), field.Quoted(string(k.Kind)), field.Quoted(string(g)), l.Protocol)
			}
		case !l.Routes:
			l.Routes = true
			l.Kinds = append(l.Kinds, http)
		}
	}
}

// resolve gives the Secrets that a TLS listener presents. One that leads
// nowhere is left out, and said; the others go on.
func (l *Listener) resolve(w World, namespace string, tls *gatewayv1.ListenerTLSConfig, path field.Path) []model.Name {
	if tls == nil || len(tls.CertificateRefs) == 0 {
		l.unresolve(field.New(gatewayv1.ListenerReasonInvalidCertificateRef,
			"%s.certificateRefs: protocol HTTPS needs a certificate; name a Secret of type kubernetes.io/tls", path))
		return nil
	}
	var out []model.Name
	for i, ref := range tls.CertificateRefs {
		secret, usable, bad := certificateRef(w, namespace, ref)
		if !bad.OK() {
			bad.Message = fmt.Sprintf("%s: %s", path.At("certificateRefs", i), bad.Message)
			l.unresolve(bad)
		}
		if usable && !slices.Contains(out, secret) {
			out = append(out, secret)
		}
	}
	return out
}

// unresolve notes a reference's problem, unless there was one before.
func (l *Listener) unresolve(p Problem) {
	if l.Unresolved.OK() {
		l.Unresolved = p
	}
}

// certificateRef follows a reference to a certificate. One that has expired
// is said, and presented all the same: a client may still decide to trust it,
// but could do nothing about a port that does not answer.
func certificateRef(w World, namespace string, ref gatewayv1.SecretObjectReference) (secret model.Name, usable bool, bad Problem) {
	secret = model.Name{Namespace: string(field.Or(ref.Namespace, gatewayv1.Namespace(namespace))), Name: string(ref.Name)}
	if group, kind := field.Value(ref.Group), field.Or(ref.Kind, "Secret"); group != "" || kind != "Secret" {
		return secret, false, field.New(gatewayv1.ListenerReasonInvalidCertificateRef,
			"%s of group %s holds no certificates; use a Secret", field.Quoted(string(kind)), field.Quoted(string(group)))
	}
	if !field.Permitted(w, field.Referrer{Kind: "Gateway", Namespace: namespace}, "Secret", secret) {
		return secret, false, field.New(gatewayv1.ListenerReasonRefNotPermitted,
			"Secret %s is in another namespace; a ReferenceGrant there must allow Gateways of namespace %s", secret, namespace)
	}
	certificate, ok := w.Certificate(secret)
	switch {
	case !ok:
		return secret, false, field.New(gatewayv1.ListenerReasonInvalidCertificateRef, "Secret %s does not exist; create it", secret)
	case certificate.Problem != "":
		return secret, false, field.New(gatewayv1.ListenerReasonInvalidCertificateRef, "Secret %s %s", secret, certificate.Problem)
	case w.Expired(certificate.NotAfter):
		return secret, true, field.New(gatewayv1.ListenerReasonInvalidCertificateRef,
			"the certificate in Secret %s expired at %s; renew it", secret, certificate.NotAfter.UTC().Format("2006-01-02 15:04:05Z"))
	}
	return secret, true, Problem{}
}
