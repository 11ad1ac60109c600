package loadbalancer

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/waggle-mesh/waggle/internal/model"
)

// Annotations of Services, each with its older name.
var (
	addressesAnnotation  = [2]string{"lbipam.cilium.io/ips", "io.cilium/lb-ipam-ips"}
	sharingKeyAnnotation = [2]string{"lbipam.cilium.io/sharing-key", "io.cilium/lb-ipam-sharing-key"}
	sharedWithAnnotation = [2]string{"lbipam.cilium.io/sharing-cross-namespace", "io.cilium/lb-ipam-sharing-cross-namespace"}
)

// Labels that selectors find on every Service.
const (
	namespaceLabel = "io.kubernetes.service.namespace"
	nameLabel      = "io.kubernetes.service.name"
)

// Classes whose Services are given addresses here, besides those without one.
const (
	L2Class  = "io.cilium/l2-announcer"
	BGPClass = "io.cilium/bgp-control-plane"
)

// port is one that a Service answers on.
type port struct {
	protocol corev1.Protocol
	number   int32
}

// Request is a Service that wants addresses, as Allocate reads it.
type Request struct {
	Service model.Name
	Created time.Time
	labels  labels.Set
	// families are those the Service wants one address of each; one is enough
	// where optional is set.
	families []model.Family
	optional bool
	asked    []netip.Addr // by annotation; empty: any
	problem  string       // of what is asked
	has      []netip.Addr // as its status says
	known    bool         // its status says that Allocate spoke of it before
	// key is that of those it shares addresses with, with says in which
	// other namespaces; local is their traffic policy and endpoints, which must
	// be equal.
	key   string
	with  []string
	local string
	ports []port
}

// Key is the Service's name.
func (r Request) Key() string { return r.Service.String() }

// RequestOf reads a Service; false if it is not to have an address from here.
// Classless says whether Services without a class are.
func RequestOf(s *corev1.Service, classless bool) (Request, bool) {
	class := ""
	if s.Spec.LoadBalancerClass != nil {
		class = *s.Spec.LoadBalancerClass
	}
	if s.Spec.Type != corev1.ServiceTypeLoadBalancer || s.DeletionTimestamp != nil ||
		class != L2Class && class != BGPClass && (class != "" || !classless) {
		return Request{}, false
	}
	r := Request{
		Service: model.Name{Namespace: s.Namespace, Name: s.Name}, Created: s.CreationTimestamp.Time,
		labels: labels.Set{}, key: annotation(s, sharingKeyAnnotation), local: localKey(s),
		optional: s.Spec.IPFamilyPolicy != nil && *s.Spec.IPFamilyPolicy == corev1.IPFamilyPolicyPreferDualStack,
	}
	maps.Copy(r.labels, s.Labels)
	r.labels[namespaceLabel], r.labels[nameLabel] = s.Namespace, s.Name
	for _, f := range s.Spec.IPFamilies {
		r.families = append(r.families, model.Family(f))
	}
	if len(r.families) == 0 {
		r.families = []model.Family{model.IPv4}
	}
	for _, p := range s.Spec.Ports {
		r.ports = append(r.ports, port{cmp.Or(p.Protocol, corev1.ProtocolTCP), p.Port})
	}
	for _, i := range s.Status.LoadBalancer.Ingress {
		if a, err := netip.ParseAddr(i.IP); err == nil {
			r.has = append(r.has, a.Unmap())
		}
	}
	r.known = slices.ContainsFunc(s.Status.Conditions, func(c metav1.Condition) bool { return c.Type == SatisfiedCondition })
	r.with = listOf(annotation(s, sharedWithAnnotation))
	if r.ask(s); r.problem != "" {
		r.asked = nil // it keeps what it has
	}
	return r, true
}

// ask reads which addresses the Service names.
func (r *Request) ask(s *corev1.Service) {
	where, text := "annotation "+addressesAnnotation[0], annotation(s, addressesAnnotation)
	if _, ok := s.Annotations[addressesAnnotation[0]]; !ok {
		where = "annotation " + addressesAnnotation[1]
	}
	if text == "" {
		where, text = "spec.loadBalancerIP", s.Spec.LoadBalancerIP
	}
	for _, name := range listOf(text) {
		a, err := netip.ParseAddr(name)
		if err != nil || a.Zone() != "" {
			r.problem = fmt.Sprintf("%s: %q is no IP address", where, name)
			return
		}
		if a = a.Unmap(); !slices.Contains(r.families, model.FamilyOf(a)) {
			r.problem = fmt.Sprintf("%s: %s is %s, which is not among spec.ipFamilies", where, a, model.FamilyOf(a))
			return
		}
		if !slices.Contains(r.asked, a) {
			r.asked = append(r.asked, a)
		}
	}
}

// localKey is equal for Services whose packets go to the same nodes.
func localKey(s *corev1.Service) string {
	if s.Spec.ExternalTrafficPolicy != corev1.ServiceExternalTrafficPolicyLocal {
		return ""
	}
	return "local " + labels.FormatLabels(s.Spec.Selector)
}

// mayShare tells whether two Services can have one address.
func (r *Request) mayShare(other *Request) bool {
	if r.key == "" || r.key != other.key || r.local != other.local ||
		!r.sharesWith(other.Service.Namespace) || !other.sharesWith(r.Service.Namespace) {
		return false
	}
	return !slices.ContainsFunc(r.ports, func(p port) bool { return slices.Contains(other.ports, p) })
}

func (r *Request) sharesWith(namespace string) bool {
	return namespace == r.Service.Namespace || slices.Contains(r.with, namespace) || slices.Contains(r.with, "*")
}

func annotation(s *corev1.Service, names [2]string) string {
	if v, ok := s.Annotations[names[0]]; ok {
		return v
	}
	return s.Annotations[names[1]]
}

// listOf takes a list apart at its commas.
func listOf(text string) (out []string) {
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			out = append(out, item)
		}
	}
	return out
}
