// Package announcement reads CiliumL2AnnouncementPolicies: which nodes say to
// their neighbours, by ARP and neighbour discovery, that they have which
// addresses of which Services.
//
// A policy with a mistake in it announces nothing, and its status says why.
// Which of several nodes has an address is decided by a Lease, elsewhere.
package announcement

import (
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/waggle-mesh/waggle/api/cilium.io/v2alpha1"
	"github.com/waggle-mesh/waggle/internal/model"
)

// Policy is a CiliumL2AnnouncementPolicy that can be asked.
type Policy struct {
	Name string
	// Conditions say why the policy announces nothing; none: it does. They
	// are without times and generation.
	Conditions []metav1.Condition

	services, nodes labels.Selector
	interfaces      []*regexp.Regexp
	external, given bool // which addresses
}

// Key is the policy's name.
func (p Policy) Key() string { return p.Name }

// Conditions are the types of those that a policy with a mistake has.
var Conditions = []string{badServices, badNodes, badInterfaces}

const (
	badServices   = "io.cilium/bad-service-selector"
	badNodes      = "io.cilium/bad-node-selector"
	badInterfaces = "io.cilium/bad-interface-regex"
)

// PolicyOf reads a policy.
func PolicyOf(o *v2alpha1.CiliumL2AnnouncementPolicy) Policy {
	p := Policy{Name: o.Name, external: o.Spec.ExternalIPs, given: o.Spec.LoadBalancerIPs}
	p.services = p.selector(badServices, "spec.serviceSelector", o.Spec.ServiceSelector)
	p.nodes = p.selector(badNodes, "spec.nodeSelector", o.Spec.NodeSelector)
	for i, text := range o.Spec.Interfaces {
		expression, err := regexp.Compile(text)
		if err != nil {
			p.problem(badInterfaces, fmt.Sprintf("spec.interfaces[%d]: %v", i, err))
			break
		}
		p.interfaces = append(p.interfaces, expression)
	}
	return p
}

func (p *Policy) selector(condition, field string, s *metav1.LabelSelector) labels.Selector {
	if s == nil {
		return labels.Everything()
	}
	out, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		p.problem(condition, field+": "+err.Error())
		return labels.Nothing()
	}
	return out
}

func (p *Policy) problem(condition, message string) {
	p.Conditions = append(p.Conditions, metav1.Condition{Type: condition, Status: metav1.ConditionTrue, Reason: "error", Message: message})
}

// Node tells whether a node may announce by the policy, from a device.
func (p Policy) Node(nodeLabels map[string]string, device string) bool {
	matches := func(r *regexp.Regexp) bool { return r.MatchString(device) }
	return len(p.Conditions) == 0 && p.nodes.Matches(labels.Set(nodeLabels)) &&
		(len(p.interfaces) == 0 || slices.ContainsFunc(p.interfaces, matches))
}

// Labels that selectors find on every Service.
const (
	namespaceLabel = "io.kubernetes.service.namespace"
	nameLabel      = "io.kubernetes.service.name"
)

// class is the loadBalancerClass of Services that are announced, besides those
// without one.
const class = "io.cilium/l2-announcer"

// Addresses are those of a Service that the policy announces, sorted.
func (p Policy) Addresses(s *corev1.Service) []netip.Addr {
	if len(p.Conditions) > 0 || s.Spec.LoadBalancerClass != nil && *s.Spec.LoadBalancerClass != class {
		return nil
	}
	has := labels.Set(maps.Clone(s.Labels))
	if has == nil {
		has = labels.Set{}
	}
	has[namespaceLabel], has[nameLabel] = s.Namespace, s.Name
	if !p.services.Matches(has) {
		return nil
	}
	var out []netip.Addr
	if p.given {
		out = Given(s)
	}
	if p.external {
		for _, text := range s.Spec.ExternalIPs {
			out = appendAddress(out, text)
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out)
}

// Given are the addresses that the cluster gave to a Service. External IPs are
// not among them: whoever writes the Service chooses those.
func Given(s *corev1.Service) (out []netip.Addr) {
	if s.Spec.Type != corev1.ServiceTypeLoadBalancer {
		return nil
	}
	for _, i := range s.Status.LoadBalancer.Ingress {
		out = appendAddress(out, i.IP)
	}
	return out
}

func appendAddress(out []netip.Addr, text string) []netip.Addr {
	a, err := netip.ParseAddr(text)
	if err != nil {
		return out
	}
	return append(out, a.Unmap())
}

// leasePrefix begins the name of every Lease that decides who announces.
const leasePrefix = "cilium-l2announce-"

// Lease is the name of the Lease that decides who announces a Service.
func Lease(service model.Name) string {
	return strings.Join([]string{leasePrefix + service.Namespace, service.Name}, "-")
}
