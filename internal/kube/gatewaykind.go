package kube

import (
	"k8s.io/apimachinery/pkg/runtime/schema"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/waggle-mesh/waggle/api/cilium.io/v2alpha1"
)

// gatewayGroup is that of the Gateway API.
var gatewayGroup = schema.GroupVersion(gatewayv1.GroupVersion)

// Kinds of the Gateway API, and what they refer to. Their annotations are read by
// nobody; what users want of the objects that are made for them stands in the spec.
var (
	GatewayClasses = Kind[*gatewayv1.GatewayClass]{
		name: "GatewayClass", group: gatewayGroup, resource: "gatewayclasses",
		new: func() *gatewayv1.GatewayClass { return new(gatewayv1.GatewayClass) },
	}
	// ClassConfigs are named by GatewayClasses.
	ClassConfigs = Kind[*v2alpha1.CiliumGatewayClassConfig]{
		name: "CiliumGatewayClassConfig", group: v2alpha1.GroupVersion, resource: "ciliumgatewayclassconfigs",
		new: func() *v2alpha1.CiliumGatewayClassConfig { return new(v2alpha1.CiliumGatewayClassConfig) },
	}
	Gateways = Kind[*gatewayv1.Gateway]{
		name: "Gateway", group: gatewayGroup, resource: "gateways",
		new: func() *gatewayv1.Gateway { return new(gatewayv1.Gateway) },
	}
	HTTPRoutes = Kind[*gatewayv1.HTTPRoute]{
		name: "HTTPRoute", group: gatewayGroup, resource: "httproutes",
		new: func() *gatewayv1.HTTPRoute { return new(gatewayv1.HTTPRoute) },
	}
	ReferenceGrants = Kind[*gatewayv1.ReferenceGrant]{
		name: "ReferenceGrant", group: gatewayGroup, resource: "referencegrants",
		new: func() *gatewayv1.ReferenceGrant { return new(gatewayv1.ReferenceGrant) },
	}
)
