package envoyconfig

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	corev1 "k8s.io/api/core/v1"

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
	"github.com/waggle-mesh/waggle/internal/model"
)

// Claim is an object's wish that connections to a Service be led to one of its
// listeners.
type Claim struct {
	Owner    model.Ref
	Created  time.Time // of the owner
	Field    string    // in the owner: "services[0]"
	Service  model.Name
	Ports    []uint16 // of the Service; empty: all
	Listener string   // its final name
	// Alone: the Service has no backends of its own.
	Alone bool
}

// Key is unique.
func (c Claim) Key() string { return model.Join(c.Owner.Key(), c.Field) }

// Equal tells whether c and other are the same.
func (c Claim) Equal(other Claim) bool {
	return c.Owner == other.Owner && c.Created.Equal(other.Created) && c.Field == other.Field && c.Service == other.Service &&
		slices.Equal(c.Ports, other.Ports) && c.Listener == other.Listener && c.Alone == other.Alone
}

// Compare puts claims in the order in which they are heard: the operator's
// first, then the oldest object's.
func (c Claim) Compare(other Claim) int {
	rank := func(c Claim) int {
		if c.Alone {
			return 0
		}
		return 1
	}
	return cmp.Or(cmp.Compare(rank(c), rank(other)), c.Created.Compare(other.Created), c.Owner.Compare(other.Owner), fieldIndex(c)-fieldIndex(other))
}

func fieldIndex(c Claim) int {
	n, _ := strconv.Atoi(strings.Trim(strings.TrimPrefix(c.Field, "services"), "[]"))
	return n
}

// services reads which Services are led to listeners, and which are named as
// backends.
func (p *parser) services() {
	for _, name := range []string{ciliumv2.AnnotationInjectFilters, ciliumv2.AnnotationIsL7LB, ciliumv2.AnnotationUseOriginalSourceAddress} {
		if _, _, err := p.o.annotation(name); err != nil {
			p.say(ReasonInvalid, "metadata.annotations["+name+"]", "must be true or false, is %q", clip(p.o.Meta.Annotations[name]))
		}
	}
	p.nodeSelector()
	for i, s := range p.o.Spec.Services {
		p.claim(fmt.Sprintf("services[%d]", i), model.Name{Namespace: cmp.Or(s.Namespace, p.o.namespace()), Name: s.Name}, s.Ports, s.Listener)
	}
	for i, s := range p.o.Spec.BackendServices {
		field := fmt.Sprintf("backendServices[%d]", i)
		if s.Name == "" {
			p.say(ReasonInvalid, field+".name", "must not be empty")
			continue
		}
		to := model.Name{Namespace: cmp.Or(s.Namespace, p.o.namespace()), Name: s.Name}
		if problem := p.mayName(to); problem != "" {
			p.say(ReasonRefNotPermitted, field, "%s", problem)
			continue
		}
		p.find(field, to, s.Ports)
	}
	p.led()
	p.clusters()
}

// mostLed is how many listeners of an object Services can be led to: each takes
// one of the ports that a node has for all objects.
const mostLed = 64

// led counts them. A Gateway's are counted by the Gateway API.
func (p *parser) led() {
	listeners := map[string]bool{}
	for _, c := range p.out.Claims {
		listeners[c.Listener] = true
	}
	if len(listeners) > mostLed && !p.o.Generated() {
		p.say(ReasonInvalid, "services", "are led to %d listeners, at most %d of one object can have a port on the nodes", len(listeners), mostLed)
	}
}

// claim reads one entry of services.
func (p *parser) claim(field string, to model.Name, ports []uint16, listener string) {
	if to.Name == "" {
		p.say(ReasonInvalid, field+".name", "must not be empty")
		return
	}
	if p.o.Ref.Kind == Namespaced && to.Namespace != p.o.Ref.Namespace {
		p.say(ReasonRefused, field+".namespace", "is %s: only Services of the object's own namespace, %s, are led elsewhere; a CiliumClusterwideEnvoyConfig may", clip(to.Namespace), p.o.Ref.Namespace)
		return
	}
	name, problem := p.listener(listener)
	if problem != "" {
		p.say(ReasonInvalid, field+".listener", "%s", problem)
		return
	}
	var texts []string
	for _, port := range ports {
		texts = append(texts, strconv.Itoa(int(port)))
	}
	p.find(field, to, texts)
	if service := p.w.Service(to); service != nil && IsHeadless(service) {
		p.out.Warnings = append(p.out.Warnings, Problem{Field: field, Message: fmt.Sprintf("Service %s is headless: its clients connect to pods, and are not led to Envoy", to)})
	}
	ports = slices.Clone(ports)
	slices.Sort(ports)
	p.out.Claims = append(p.out.Claims, Claim{
		Owner: p.o.Ref, Created: p.o.Created(), Field: field, Service: to, Ports: slices.Compact(ports), Listener: name, Alone: p.o.Generated(),
	})
}

// listener finds the listener that an entry of services means.
func (p *parser) listener(name string) (final, problem string) {
	for _, r := range p.resources {
		l, ok := r.m.(*listenerv3.Listener)
		if !ok || name != "" && r.name != name {
			continue
		}
		switch {
		case l.GetInternalListener() != nil && name == "":
			continue
		case l.GetInternalListener() != nil:
			return "", fmt.Sprintf("Listener %q is an internal one: nothing from outside Envoy gets there", clip(name))
		case l.Address != nil && name == "":
			continue
		case l.Address != nil:
			return "", fmt.Sprintf("Listener %q has an address of its own: connections are led to listeners without one", clip(name))
		}
		return p.names.qualified(r.name), ""
	}
	if slices.ContainsFunc(p.unreadable, func(r resource) bool {
		return r.kind == model.EnvoyListener && (name == "" || r.name == name)
	}) {
		return "", "" // it has been said
	}
	if name == "" {
		return "", "resources has no Listener without an address to which the Service could be led"
	}
	return "", p.names.missing(model.EnvoyListener, name)
}

// find says whether a Service and its ports, numbers or names, are there.
func (p *parser) find(field string, to model.Name, ports []string) {
	if p.o.Generated() {
		return // the operator has looked
	}
	service := p.w.Service(to)
	if service == nil {
		p.unresolved(field, "Service %s does not exist", clip(to.String()))
		return
	}
	if service.Spec.Type == corev1.ServiceTypeExternalName {
		p.unresolved(field, "Service %s is of type ExternalName: it has no endpoints", to)
		return
	}
	for _, port := range ports {
		if port != "" && !hasPort(service, port) {
			p.unresolved(field, "Service %s has no TCP port %s; it has %s", to, clip(port), portsOf(service))
		}
	}
}

func (p *parser) unresolved(field, format string, args ...any) {
	problem := Problem{Reason: ReasonServiceNotFound, Field: field, Message: fmt.Sprintf(format, args...)}
	if !slices.Contains(p.out.Unresolved, problem) {
		p.out.Unresolved = append(p.out.Unresolved, problem)
	}
}

// clusters says which clusters ask for endpoints of Services that are not
// there, beyond those that services and backendServices name.
func (p *parser) clusters() {
	if p.o.Generated() {
		return
	}
	told := map[model.Name]bool{}
	for _, s := range p.o.Spec.Services {
		told[model.Name{Namespace: cmp.Or(s.Namespace, p.o.namespace()), Name: s.Name}] = true
	}
	for _, s := range p.o.Spec.BackendServices {
		told[model.Name{Namespace: cmp.Or(s.Namespace, p.o.namespace()), Name: s.Name}] = true
	}
	for _, a := range p.names.assignments() {
		if a.Port != "" || !told[a.Service] {
			p.find("resources: cluster "+clip(a.Name), a.Service, []string{a.Port})
		}
	}
}

func hasPort(service *corev1.Service, port string) bool {
	return slices.ContainsFunc(service.Spec.Ports, func(s corev1.ServicePort) bool {
		return isTCP(s) && (s.Name == port && port != "" || strconv.Itoa(int(s.Port)) == port)
	})
}

func isTCP(s corev1.ServicePort) bool { return s.Protocol == corev1.ProtocolTCP || s.Protocol == "" }

// portsOf names the ports of a Service.
func portsOf(service *corev1.Service) string {
	var all []string
	for _, s := range service.Spec.Ports {
		if isTCP(s) {
			all = append(all, strings.TrimSuffix(fmt.Sprintf("%d %s", s.Port, s.Name), " "))
		}
	}
	if len(all) == 0 {
		return "none"
	}
	return strings.Join(all, ", ")
}
