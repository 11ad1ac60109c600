package gateway

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/gateway-api/pkg/features"

	"github.com/waggle-mesh/waggle/api/cilium.io/v2alpha1"
	"github.com/waggle-mesh/waggle/internal/model"
)

// Class is what became of a GatewayClass.
type Class struct {
	Name       string
	Generation int64
	// Ours tells whether the class names our controller. Nothing is said of
	// others.
	Ours bool
	// Problem says why the class is not accepted.
	Problem Problem
	// Service are the settings of its Gateways' Services; nil: there are none.
	Service *v2alpha1.GatewayServiceConfig
}

// Key is the class's name.
func (c Class) Key() string { return c.Name }

// Class judges a GatewayClass.
func (s Stage) Class(w World, class *gatewayv1.GatewayClass) Class {
	out := Class{
		Name:       class.Name,
		Generation: class.Generation,
		Ours:       string(class.Spec.ControllerName) == s.Controller,
	}
	if ref := class.Spec.ParametersRef; out.Ours && ref != nil {
		out.Service, out.Problem = parameters(w, ref)
	}
	return out
}

// ClassStatus is the status of a class of ours. ruleFields tells which fields a
// rule of an HTTPRoute may have where it is stored: what cannot be written is
// not claimed.
func (s Stage) ClassStatus(c Class, ruleFields func(name string) bool) gatewayv1.GatewayClassStatus {
	accepted := Problem{}
	if !c.Problem.OK() {
		accepted = c.Problem
	}
	out := gatewayv1.GatewayClassStatus{Conditions: []metav1.Condition{
		condition(gatewayv1.GatewayClassConditionStatusAccepted, gatewayv1.GatewayClassReasonAccepted,
			"Gateways of this class are served", accepted, c.Generation),
	}}
	for _, name := range supportedFeatures {
		if name == features.SupportGatewayInfrastructure && !s.Infrastructure {
			continue
		}
		if field, ok := fieldOf[name]; ok && !ruleFields(field) || s.IgnoreAppProtocol && byAppProtocol[name] {
			continue
		}
		out.SupportedFeatures = append(out.SupportedFeatures, gatewayv1.SupportedFeature{Name: gatewayv1.FeatureName(name)})
	}
	return out
}

// ClassConditions are a class's conditions for people.
func ClassConditions(c Class, status gatewayv1.GatewayClassStatus) []model.Condition {
	if !c.Ours {
		return nil
	}
	return flatten(nil, model.Ref{Kind: "GatewayClass", Name: model.Name{Name: c.Name}}, "", status.Conditions)
}

// fieldOf are the features that stand and fall with a field of a rule that not
// every channel of the Gateway API has.
var fieldOf = map[features.FeatureName]string{
	features.SupportHTTPRouteRetry:                "retry",
	features.SupportHTTPRouteRetryBackendTimeout:  "retry",
	features.SupportHTTPRouteRetryConnectionError: "retry",
}

// byAppProtocol are the features that heed appProtocol.
var byAppProtocol = map[features.FeatureName]bool{
	features.SupportHTTPRouteBackendProtocolH2C: true, features.SupportHTTPRouteBackendProtocolWebSocket: true,
}

// supportedFeatures are what the class claims, sorted as the API demands.
var supportedFeatures = []features.FeatureName{
	features.SupportGateway,
	features.SupportGatewayAddressEmpty,
	features.SupportGatewayHTTPListenerIsolation,
	features.SupportGatewayHTTPSListenerDetectMisdirectedRequests,
	features.SupportGatewayInfrastructure,
	features.SupportGatewayPort8080,
	features.SupportGatewayStaticAddresses,
	features.SupportHTTPRoute,
	features.SupportHTTPRoute303RedirectStatusCode,
	features.SupportHTTPRoute307RedirectStatusCode,
	features.SupportHTTPRoute308RedirectStatusCode,
	features.SupportHTTPRouteBackendProtocolH2C,
	features.SupportHTTPRouteBackendProtocolWebSocket,
	features.SupportHTTPRouteBackendRequestHeaderModification,
	features.SupportHTTPRouteBackendTimeout,
	features.SupportHTTPRouteCORS,
	features.SupportHTTPRouteHostRewrite,
	features.SupportHTTPRouteMethodMatching,
	features.SupportHTTPRouteNamedRouteRule,
	features.SupportHTTPRouteParentRefPort,
	features.SupportHTTPRoutePathRedirect,
	features.SupportHTTPRoutePathRewrite,
	features.SupportHTTPRoutePortRedirect,
	features.SupportHTTPRouteQueryParamMatching,
	features.SupportHTTPRouteRequestMirror,
	features.SupportHTTPRouteRequestMultipleMirrors,
	features.SupportHTTPRouteRequestPercentageMirror,
	features.SupportHTTPRouteRequestTimeout,
	features.SupportHTTPRouteResponseHeaderModification,
	features.SupportHTTPRouteRetry,
	features.SupportHTTPRouteRetryBackendTimeout,
	features.SupportHTTPRouteRetryConnectionError,
	features.SupportHTTPRouteSchemeRedirect,
	features.SupportReferenceGrant,
}
