package rule

import (
	corev1 "k8s.io/api/core/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/waggle-mesh/waggle/internal/gateway/field"
	"github.com/waggle-mesh/waggle/internal/model"
)

// backendRefs translates a rule's backendRefs but for those of weight zero.
// One that leads nowhere keeps its share.
func (r *reader) backendRefs(spec *gatewayv1.HTTPRouteRule) []model.WeightedBackend {
	var out []model.WeightedBackend
	if !r.few(r.path.Dot("backendRefs"), len(spec.BackendRefs), 16) {
		return out
	}
	for i := range spec.BackendRefs {
		ref, path := &spec.BackendRefs[i], r.path.At("backendRefs", i)
		backend, _ := r.backend(ref.BackendObjectReference, path)
		f := r.filters(ref.Filters, path, true)
		weight := field.Or(ref.Weight, 1)
		if weight < 0 || weight > 1_000_000 {
			r.refuse(path.Dot("weight"), "%d is no weight; use 0 to 1000000", weight)
		}
		if weight <= 0 {
			continue
		}
		out = append(out, model.WeightedBackend{
			Backend: backend, Weight: uint32(weight),
			RequestHeaders: f.request, ResponseHeaders: f.response, Rewrite: f.rewrite,
		})
	}
	return out
}

// backend follows a reference to a Service.
func (r *reader) backend(ref gatewayv1.BackendObjectReference, path field.Path) (model.Backend, bool) {
	if group, kind := field.Value(ref.Group), field.Or(ref.Kind, "Service"); group != "" || kind != "Service" {
		r.unresolve(gatewayv1.RouteReasonInvalidKind, path, "%s of group %s is not supported; use a Service", field.Quoted(string(kind)), field.Quoted(string(group)))
		return model.Backend{}, false
	}
	name := model.Name{Namespace: string(field.Or(ref.Namespace, gatewayv1.Namespace(r.route.Namespace))), Name: string(ref.Name)}
	if !field.Permitted(r.w, field.Referrer{Kind: r.route.Kind, Namespace: r.route.Namespace}, "Service", name) {
		r.unresolve(gatewayv1.RouteReasonRefNotPermitted, path,
			"Service %s is in another namespace; a ReferenceGrant there must allow %ss of namespace %s", name, r.route.Kind, r.route.Namespace)
		return model.Backend{}, false
	}
	service, ok := r.w.Service(name)
	switch {
	case !ok:
		r.unresolve(gatewayv1.RouteReasonBackendNotFound, path, "Service %s does not exist; create it, or correct the name or namespace", name)
		return model.Backend{}, false
	case service.Spec.Type == corev1.ServiceTypeExternalName:
		r.unresolve(gatewayv1.RouteReasonUnsupportedValue, path,
			"Service %s is of type ExternalName, which could reach any host; use one with endpoints", name)
		return model.Backend{}, false
	case ref.Port == nil:
		r.unresolve(gatewayv1.RouteReasonBackendNotFound, path.Dot("port"), "a Service needs a port; name one of Service %s", name)
		return model.Backend{}, false
	}
	return r.servicePort(service, name, *ref.Port, path.Dot("port"))
}

// servicePort finds the backend that a Service has at a port.
func (r *reader) servicePort(service *corev1.Service, name model.Name, number int32, path field.Path) (model.Backend, bool) {
	found := false
	for _, p := range service.Spec.Ports {
		if p.Port != number || number < 1 || number > 65535 {
			continue
		}
		found = true
		if p.Protocol != "" && p.Protocol != corev1.ProtocolTCP {
			continue
		}
		protocol, ok := backendProtocol(field.Value(p.AppProtocol))
		if !ok {
			r.unresolve(gatewayv1.RouteReasonUnsupportedProtocol, path,
				"port %d of Service %s has appProtocol %s; use kubernetes.io/h2c, kubernetes.io/ws, http or none",
				number, name, field.Quoted(*p.AppProtocol))
			return model.Backend{}, false
		}
		return model.Backend{Service: name, Port: uint16(number), Protocol: protocol}, true
	}
	if found {
		r.unresolve(gatewayv1.RouteReasonUnsupportedProtocol, path, "port %d of Service %s is not TCP; use one that is", number, name)
	} else {
		r.unresolve(gatewayv1.RouteReasonBackendNotFound, path, "Service %s has no port %d; use one of its ports", name, number)
	}
	return model.Backend{}, false
}

// backendProtocol is what is spoken to a Service port, by its appProtocol
// (KEP-3726, and the names that Services carry in practice).
func backendProtocol(app string) (model.BackendProtocol, bool) {
	switch app {
	case "", "http", "kubernetes.io/ws":
		return model.BackendHTTP1, true
	case "kubernetes.io/h2c", "http2", "grpc":
		return model.BackendH2C, true
	}
	return "", false
}
