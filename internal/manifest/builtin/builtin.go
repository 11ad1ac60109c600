// Package builtin does with objects of Kubernetes' own kinds what the API
// server does that has no schema for them: each function writes the defaults
// into an object and says what is wrong with it, in as far as it matters to
// who reads Services, EndpointSlices, Secrets and Namespaces. Unlike the API
// server it allows endpoints on loopback addresses.
package builtin

import (
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// What the API server does with kinds that are built into it: the defaults
// that somebody here reads, and the checks without which a reader could be
// led astray.

// Namespace adds the label by which namespaces are selected by name.
func Namespace(o metav1.Object) field.ErrorList {
	labels := o.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	labels[corev1.LabelMetadataName] = o.GetName()
	o.SetLabels(labels)
	return nil
}

// maxSecret bounds the data of a Secret in bytes.
const maxSecret = corev1.MaxSecretSize

// Secret merges stringData into data.
func Secret(o metav1.Object) field.ErrorList {
	s := o.(*corev1.Secret)
	if s.Type == "" {
		s.Type = corev1.SecretTypeOpaque
	}
	if len(s.StringData) > 0 && s.Data == nil {
		s.Data = map[string][]byte{}
	}
	for key, value := range s.StringData {
		s.Data[key] = []byte(value)
	}
	s.StringData = nil
	var errs field.ErrorList
	data, total := field.NewPath("data"), 0
	for key, value := range s.Data {
		total += len(value)
		for _, message := range validation.IsConfigMapKey(key) {
			errs = append(errs, field.Invalid(data.Key(key), key, message))
		}
	}
	if total > maxSecret {
		errs = append(errs, field.TooLong(data, "", maxSecret))
	}
	if s.Type == corev1.SecretTypeTLS {
		for _, key := range []string{corev1.TLSCertKey, corev1.TLSPrivateKeyKey} {
			if _, ok := s.Data[key]; !ok {
				errs = append(errs, field.Required(data.Key(key), "a Secret of type "+string(s.Type)+" has it"))
			}
		}
	}
	return errs
}

var protocols = []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP}

func Service(o metav1.Object) field.ErrorList {
	s, spec := o.(*corev1.Service), field.NewPath("spec")
	if s.Spec.Type == "" {
		s.Spec.Type = corev1.ServiceTypeClusterIP
	}
	var errs field.ErrorList
	switch s.Spec.Type {
	case corev1.ServiceTypeClusterIP, corev1.ServiceTypeNodePort, corev1.ServiceTypeLoadBalancer:
		if len(s.Spec.Ports) == 0 && s.Spec.ClusterIP != corev1.ClusterIPNone {
			errs = append(errs, field.Required(spec.Child("ports"), ""))
		}
	case corev1.ServiceTypeExternalName:
		if s.Spec.ExternalName == "" {
			errs = append(errs, field.Required(spec.Child("externalName"), ""))
		}
	default:
		errs = append(errs, field.NotSupported(spec.Child("type"), s.Spec.Type, []corev1.ServiceType{corev1.ServiceTypeClusterIP,
			corev1.ServiceTypeExternalName, corev1.ServiceTypeLoadBalancer, corev1.ServiceTypeNodePort}))
	}
	if ip := s.Spec.ClusterIP; ip != "" && ip != corev1.ClusterIPNone {
		errs = append(errs, checkIP(spec.Child("clusterIP"), ip)...)
	}
	type number struct {
		protocol corev1.Protocol
		port     int32
	}
	ports, names := map[number]bool{}, map[string]bool{}
	for i := range s.Spec.Ports {
		at, port := spec.Child("ports").Index(i), &s.Spec.Ports[i]
		errs = append(errs, finishServicePort(port, at)...)
		if n := (number{port.Protocol, port.Port}); ports[n] {
			errs = append(errs, field.Duplicate(at.Child("port"), port.Port))
		} else {
			ports[n] = true
		}
		switch {
		case port.Name == "" && len(s.Spec.Ports) > 1:
			errs = append(errs, field.Required(at.Child("name"), "a Service with several ports names them"))
		case names[port.Name]:
			errs = append(errs, field.Duplicate(at.Child("name"), port.Name))
		}
		names[port.Name] = true
	}
	return errs
}

func finishServicePort(port *corev1.ServicePort, at *field.Path) field.ErrorList {
	if port.Protocol == "" {
		port.Protocol = corev1.ProtocolTCP
	}
	errs := append(checkPort(at.Child("port"), port.Port), checkProtocol(at.Child("protocol"), port.Protocol)...)
	errs = append(errs, checkPortName(at.Child("name"), port.Name)...)
	target := at.Child("targetPort")
	switch {
	case port.TargetPort == intstr.IntOrString{}:
		port.TargetPort = intstr.FromInt32(port.Port)
	case port.TargetPort.Type == intstr.Int:
		errs = append(errs, checkPort(target, port.TargetPort.IntVal)...)
	default:
		for _, message := range validation.IsValidPortName(port.TargetPort.StrVal) {
			errs = append(errs, field.Invalid(target, port.TargetPort.StrVal, message))
		}
	}
	return append(errs, checkAppProtocol(at.Child("appProtocol"), port.AppProtocol)...)
}

// Bounds of an EndpointSlice, as the API server has them.
const (
	maxEndpoints         = 1000
	maxEndpointAddresses = 100
	maxEndpointPorts     = 20_000
)

// EndpointSlice checks the addresses. Unlike the API server it lets
// those of the host itself pass, as that is where backends run when there is
// no cluster.
func EndpointSlice(o metav1.Object) field.ErrorList {
	s := o.(*discoveryv1.EndpointSlice)
	var errs field.ErrorList
	switch s.AddressType {
	case discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6, discoveryv1.AddressTypeFQDN:
	case "":
		errs = append(errs, field.Required(field.NewPath("addressType"), ""))
	default:
		errs = append(errs, field.NotSupported(field.NewPath("addressType"), s.AddressType,
			[]discoveryv1.AddressType{discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6, discoveryv1.AddressTypeFQDN}))
	}
	at := field.NewPath("endpoints")
	if len(s.Endpoints) > maxEndpoints {
		return append(errs, field.TooMany(at, len(s.Endpoints), maxEndpoints))
	}
	for i, e := range s.Endpoints {
		errs = append(errs, checkAddresses(at.Index(i).Child("addresses"), s.AddressType, e.Addresses)...)
	}
	return append(errs, finishEndpointPorts(s)...)
}

func checkAddresses(at *field.Path, family discoveryv1.AddressType, addresses []string) field.ErrorList {
	if len(addresses) == 0 {
		return field.ErrorList{field.Required(at, "an endpoint has at least one")}
	}
	if len(addresses) > maxEndpointAddresses {
		return field.ErrorList{field.TooMany(at, len(addresses), maxEndpointAddresses)}
	}
	var errs field.ErrorList
	for i, address := range addresses {
		if family == discoveryv1.AddressTypeFQDN {
			errs = append(errs, validation.IsFullyQualifiedDomainName(at.Index(i), address)...)
			continue
		}
		ip, err := netip.ParseAddr(address)
		switch {
		case err != nil:
			errs = append(errs, field.Invalid(at.Index(i), address, "is no IP address"))
		case ip.Is4() != (family == discoveryv1.AddressTypeIPv4) && family != "":
			errs = append(errs, field.Invalid(at.Index(i), address, "is no "+string(family)+" address"))
		case ip.Zone() != "", ip.Is4In6(), ip.IsUnspecified(), ip.IsMulticast(), ip.IsLinkLocalUnicast():
			errs = append(errs, field.Invalid(at.Index(i), address, "is not the address of an endpoint"))
		}
	}
	return errs
}

func finishEndpointPorts(s *discoveryv1.EndpointSlice) field.ErrorList {
	var errs field.ErrorList
	ports, names := field.NewPath("ports"), map[string]bool{}
	if len(s.Ports) > maxEndpointPorts {
		return field.ErrorList{field.TooMany(ports, len(s.Ports), maxEndpointPorts)}
	}
	for i := range s.Ports {
		at, port := ports.Index(i), &s.Ports[i]
		if port.Name == nil {
			port.Name = new(string)
		}
		if port.Protocol == nil {
			port.Protocol = new(corev1.ProtocolTCP)
		}
		if names[*port.Name] {
			errs = append(errs, field.Duplicate(at.Child("name"), *port.Name))
		}
		names[*port.Name] = true
		errs = append(errs, checkPortName(at.Child("name"), *port.Name)...)
		errs = append(errs, checkProtocol(at.Child("protocol"), *port.Protocol)...)
		errs = append(errs, checkAppProtocol(at.Child("appProtocol"), port.AppProtocol)...)
		if port.Port != nil {
			errs = append(errs, checkPort(at.Child("port"), *port.Port)...)
		}
	}
	return errs
}

func checkPort(at *field.Path, port int32) field.ErrorList {
	var errs field.ErrorList
	for _, message := range validation.IsValidPortNum(int(port)) {
		errs = append(errs, field.Invalid(at, port, message))
	}
	return errs
}

func checkPortName(at *field.Path, name string) field.ErrorList {
	var errs field.ErrorList
	if name == "" {
		return nil
	}
	for _, message := range validation.IsDNS1123Label(name) {
		errs = append(errs, field.Invalid(at, name, message))
	}
	return errs
}

func checkProtocol(at *field.Path, protocol corev1.Protocol) field.ErrorList {
	for _, known := range protocols {
		if protocol == known {
			return nil
		}
	}
	return field.ErrorList{field.NotSupported(at, protocol, protocols)}
}

func checkAppProtocol(at *field.Path, protocol *string) field.ErrorList {
	var errs field.ErrorList
	if protocol == nil {
		return nil
	}
	for _, message := range validation.IsQualifiedName(*protocol) {
		errs = append(errs, field.Invalid(at, *protocol, message))
	}
	return errs
}

func checkIP(at *field.Path, address string) field.ErrorList {
	if _, err := netip.ParseAddr(address); err != nil || strings.Contains(address, "%") {
		return field.ErrorList{field.Invalid(at, address, "is no IP address")}
	}
	return nil
}
