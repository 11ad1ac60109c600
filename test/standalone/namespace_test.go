package standalone_test

import "testing"

// TestSharedGateway: routes of the namespaces that a listener selects attach,
// and others are refused, also when a label changes.
func TestSharedGateway(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		friend, stranger := newSite(t, m.mesh), newSite(t, m.mesh)
		m.gateway(replace(`
			listeners:
			- name: named
			  protocol: HTTP
			  port: 80
			  allowedRoutes:
			    namespaces:
			      from: Selector
			      selector: {matchExpressions: [{key: kubernetes.io/metadata.name, operator: In, values: [FRIEND]}]}
			- name: labelled
			  protocol: HTTP
			  port: 81
			  allowedRoutes: {namespaces: {from: Selector, selector: {matchLabels: {gateway: "yes-FRIEND"}}}}
			- name: all
			  protocol: HTTP
			  port: 82
			  allowedRoutes: {namespaces: {from: All}}
			`, "FRIEND", friend.namespace))
		for _, s := range []*site{friend, stranger} {
			s.backends("a")
			s.apply("r", replace(`
				apiVersion: gateway.networking.k8s.io/v1
				kind: HTTPRoute
				metadata: {name: r, namespace: NAMESPACE}
				spec:
				  parentRefs: [{name: gw, namespace: HOME, sectionName: named}, {name: gw, namespace: HOME, sectionName: labelled}, {name: gw, namespace: HOME, sectionName: all}]
				  hostnames: [NAMESPACE.example.com]
				  rules: [{backendRefs: [{name: a, port: 80}]}]
				`, "HOME", m.namespace))
		}
		check := func(labelled string) {
			m.answers(replace(`
				http://FRIEND.example.com/       → a
				http://STRANGER.example.com/     → 404
				http://FRIEND.example.com:81/    → LABELLED
				http://STRANGER.example.com:81/  → 404
				http://FRIEND.example.com:82/    → a
				http://STRANGER.example.com:82/  → a
				`, "FRIEND", friend.namespace, "STRANGER", stranger.namespace, "LABELLED", labelled))
		}
		check("404")
		stranger.awaitCondition("HTTPRoute r, parent " + m.namespace + "/gw/named: Accepted=False NotAllowedByListeners")
		friend.apply("namespace", `
			apiVersion: v1
			kind: Namespace
			metadata: {name: NAMESPACE, labels: {gateway: yes-NAMESPACE}}
			`)
		check("a")
		friend.awaitNoConditions()
		friend.remove("namespace")
		check("404")
	})
}

// TestForeignClass: a Gateway of another controller is left alone, and one of
// no class at all says so.
func TestForeignClass(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		m.apply("gateway", `
			apiVersion: gateway.networking.k8s.io/v1
			kind: Gateway
			metadata: {name: gw, namespace: NAMESPACE}
			spec:
			  gatewayClassName: nobodys
			  addresses: [{value: ADDRESS}]
			  `+webGateway)
		m.awaitCondition("Gateway gw: Accepted=Unknown Pending")
		m.backends("a")
		m.route("r", `rules: [{backendRefs: [{name: a, port: 80}]}]`)
		m.awaitCondition("HTTPRoute r, parent gw: Accepted=False NoMatchingParent")
		if _, err := m.try(m.client, "/"); err == nil {
			t.Error("it is served")
		}
		m.gateway(webGateway)
		m.answers(`/ → a`)
		m.awaitNoConditions()
	})
}
