package daemon

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
	"github.com/waggle-mesh/waggle/internal/kube"
	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/operator"
)

// What is made for a Gateway is found by its label. Other controllers set the
// same label and the same owner reference on what they make, and Cilium gives
// it the same name, too: an object is deleted only where a mark says besides
// that it was made here. What has another owner is never touched.

// owned tells of an object whether it has the label, owner and name of what is
// made for a Gateway; of what was made here alone, with the mark.
func owned(o metav1.Object) bool {
	gateway, ok := operator.OwnerOf(o)
	if !ok || o.GetLabels()[operator.GatewayLabel] == "" {
		return false
	}
	name := operator.ObjectName(gateway).Name
	_, isOne := o.(*corev1.Service) // of the others there may be several
	return o.GetName() == name || !isOne && strings.HasPrefix(o.GetName(), name+".")
}

// The marks of Services, EndpointSlices and CiliumEnvoyConfigs.

func ownService(o *corev1.Service) bool {
	_, marked := o.Annotations[infrastructureAnnotation]
	return marked && owned(o)
}

func ownSlice(o *discoveryv1.EndpointSlice) bool {
	return o.Labels[discoveryv1.LabelManagedBy] == sliceMaker && owned(o)
}

func ownConfig(o *ciliumv2.CiliumEnvoyConfig) bool {
	return o.Labels[ciliumv2.LabelGeneratedFor] == "Gateway" && owned(o)
}

// sliceMaker is who EndpointSlices say that they are managed by.
const sliceMaker = "gateway.waggle.io"

// setOwner makes an object the Gateway's.
func setOwner(o metav1.Object, owner operator.Owner) {
	o.SetOwnerReferences([]metav1.OwnerReference{owner.Reference()})
}

func (p *process) gatewayServices() *kube.Writer[operator.GatewayService, *corev1.Service] {
	return kube.NewWriter(p.client, p.sources.ownServices, kube.WriterOptions[operator.GatewayService, *corev1.Service]{
		Name: model.NameFrom, Fill: fillService, Ours: ownService,
		Owns: func(row operator.GatewayService, o *corev1.Service) bool { return row.Owner.Owns(o) },
		Anew: mustBeAnew, Held: func(row operator.GatewayService) bool { return row.Held },
	})
}

// fillService leaves alone what the API server and load balancers have added. Of
// a Service that is made anew, others' labels and annotations are left.
func fillService(row operator.GatewayService, o *corev1.Service) {
	setOwner(o, row.Owner)
	setInfrastructure(o, row.Labels, row.Annotations)
	o.Spec.Type, o.Spec.ExternalTrafficPolicy, o.Spec.Selector = row.Type, row.ExternalTrafficPolicy, nil
	setChosen(row, o)
	var ports []corev1.ServicePort
	for _, number := range row.Ports {
		port := corev1.ServicePort{Port: int32(number)}
		if at := slices.IndexFunc(o.Spec.Ports, func(had corev1.ServicePort) bool { return had.Port == int32(number) }); at >= 0 {
			port = o.Spec.Ports[at] // with its NodePort
		}
		port.Name, port.Protocol = portName(number), corev1.ProtocolTCP
		ports = append(ports, port)
	}
	o.Spec.Ports = ports
}

// portName is that of a port of a Service.
func portName(number uint16) string { return "port-" + strconv.Itoa(int(number)) }

// infrastructureAnnotation remembers which labels and annotations were set, so
// that they can be taken back and others' are left alone.
const infrastructureAnnotation = "gateway.waggle.io/infrastructure"

// setInfrastructure sets labels and annotations, and removes those that an
// earlier version of the row has set.
func setInfrastructure(o metav1.Object, labels, annotations map[string]string) {
	haveLabels, haveAnnotations := maps.Clone(o.GetLabels()), maps.Clone(o.GetAnnotations())
	if haveLabels == nil {
		haveLabels = map[string]string{}
	}
	if haveAnnotations == nil {
		haveAnnotations = map[string]string{}
	}
	before, beforeAnnotations, _ := strings.Cut(haveAnnotations[infrastructureAnnotation], ";")
	for name := range strings.SplitSeq(before, ",") {
		delete(haveLabels, name)
	}
	for name := range strings.SplitSeq(beforeAnnotations, ",") {
		delete(haveAnnotations, name)
	}
	maps.Copy(haveLabels, labels)
	maps.Copy(haveAnnotations, annotations)
	names := func(m map[string]string) string { return strings.Join(slices.Sorted(maps.Keys(m)), ",") }
	haveAnnotations[infrastructureAnnotation] = names(labels) + ";" + names(annotations)
	o.SetLabels(haveLabels)
	o.SetAnnotations(haveAnnotations)
}

func (p *process) gatewaySlices() *kube.Writer[operator.GatewaySlice, *discoveryv1.EndpointSlice] {
	return kube.NewWriter(p.client, p.sources.ownSlices, kube.WriterOptions[operator.GatewaySlice, *discoveryv1.EndpointSlice]{
		Name: model.NameFrom, Fill: fillSlice, Ours: ownSlice,
		Owns: func(row operator.GatewaySlice, o *discoveryv1.EndpointSlice) bool { return row.Owner.Owns(o) },
		Held: func(row operator.GatewaySlice) bool { return row.Held },
	})
}

// fillSlice names an endpoint that nobody ever reaches where there is none, as
// Cilium does: other implementations of Services, and clouds, serve none without
// endpoints.
func fillSlice(row operator.GatewaySlice, o *discoveryv1.EndpointSlice) {
	setOwner(o, row.Owner)
	o.Labels = maps.Clone(row.Labels)
	o.Labels[discoveryv1.LabelServiceName], o.Labels[discoveryv1.LabelManagedBy] = row.Service, sliceMaker
	if o.AddressType = discoveryv1.AddressTypeIPv4; row.IPv6 {
		o.AddressType = discoveryv1.AddressTypeIPv6
	}
	yes, tcp := true, corev1.ProtocolTCP
	o.Endpoints, o.Ports = nil, nil
	for _, e := range row.Endpoints {
		o.Endpoints = append(o.Endpoints, discoveryv1.Endpoint{
			Addresses: []string{e.Address.String()}, NodeName: &e.Node, Conditions: discoveryv1.EndpointConditions{Ready: &yes},
		})
	}
	for _, number := range row.Ports {
		name, port := portName(number), int32(number)
		o.Ports = append(o.Ports, discoveryv1.EndpointPort{Name: &name, Protocol: &tcp, Port: &port})
	}
	if len(row.Ports) == 0 {
		none, port := "", int32(9999)
		o.Endpoints = []discoveryv1.Endpoint{{Addresses: []string{"192.192.192.192"}, Conditions: discoveryv1.EndpointConditions{Ready: &yes}}}
		o.Ports = []discoveryv1.EndpointPort{{Name: &none, Protocol: &tcp, Port: &port}}
	}
}

func (p *process) gatewayConfigs() *kube.Writer[operator.GatewayConfig, *ciliumv2.CiliumEnvoyConfig] {
	return kube.NewWriter(p.client, p.sources.configs, kube.WriterOptions[operator.GatewayConfig, *ciliumv2.CiliumEnvoyConfig]{
		Name: model.NameFrom, Fill: fillConfig, Ours: ownConfig,
		Owns: func(row operator.GatewayConfig, o *ciliumv2.CiliumEnvoyConfig) bool { return row.Owner.Owns(o) },
		Held: func(row operator.GatewayConfig) bool { return row.Held },
	})
}

func fillConfig(row operator.GatewayConfig, o *ciliumv2.CiliumEnvoyConfig) {
	setOwner(o, row.Owner)
	o.Labels, o.Spec = row.Labels, row.Spec
	if row.PartOf == "" {
		o.Annotations = map[string]string{ciliumv2.AnnotationUseOriginalSourceAddress: "false"}
	}
}

// copyAnnotation names the Secret of a copy, and marks the copy as made here:
// Cilium gives its copies the same names and labels.
const copyAnnotation = "gateway.waggle.io/copy-of"

func (p *process) secretCopies() *kube.Writer[operator.SecretCopy, *corev1.Secret] {
	return kube.NewWriter(p.client, p.sources.ownSecrets, kube.WriterOptions[operator.SecretCopy, *corev1.Secret]{
		Name: model.NameFrom, Fill: fillSecret, Ours: ownSecret,
		Owns: func(_ operator.SecretCopy, o *corev1.Secret) bool {
			return o.Labels[operator.SecretNamespaceLabel] != ""
		},
		Held: func(row operator.SecretCopy) bool { return row.Held },
	})
}

func ownSecret(o *corev1.Secret) bool {
	return o.Name == operator.SecretCopyName(o.Namespace, model.NameFrom(o.Annotations[copyAnnotation])).Name
}

func fillSecret(row operator.SecretCopy, o *corev1.Secret) {
	o.Labels, o.Type = row.Labels(), corev1.SecretTypeTLS
	metav1.SetMetaDataAnnotation(&o.ObjectMeta, copyAnnotation, row.Of.Secret.String())
	o.Data = map[string][]byte{corev1.TLSCertKey: row.Of.Chain, corev1.TLSPrivateKeyKey: row.Of.PrivateKey}
}
