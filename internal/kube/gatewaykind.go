package kube

import gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

// Kinds of the Gateway API. Their annotations are read by nobody; what users
// want of the objects that are made for them stands in the spec.
var (
	GatewayClasses = Kind[*gatewayv1.GatewayClass]{
		name: "GatewayClass", group: gatewayv1.SchemeGroupVersion, resource: "gatewayclasses",
		new: func() *gatewayv1.GatewayClass { return new(gatewayv1.GatewayClass) },
	}
	Gateways = Kind[*gatewayv1.Gateway]{
		name: "Gateway", group: gatewayv1.SchemeGroupVersion, resource: "gateways",
		new: func() *gatewayv1.Gateway { return new(gatewayv1.Gateway) },
	}
	HTTPRoutes = Kind[*gatewayv1.HTTPRoute]{
		name: "HTTPRoute", group: gatewayv1.SchemeGroupVersion, resource: "httproutes",
		new: func() *gatewayv1.HTTPRoute { return new(gatewayv1.HTTPRoute) },
	}
	ReferenceGrants = Kind[*gatewayv1.ReferenceGrant]{
		name: "ReferenceGrant", group: gatewayv1.SchemeGroupVersion, resource: "referencegrants",
		new: func() *gatewayv1.ReferenceGrant { return new(gatewayv1.ReferenceGrant) },
	}
)
