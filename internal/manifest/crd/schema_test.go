package crd

import (
	"fmt"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// TestClassConfig: settings of a class that contradict each other are refused
// as soon as they are applied, and those that Cilium's definition writes into
// each object are not.
func TestClassConfig(t *testing.T) {
	schema := New("CiliumGatewayClassConfig")
	for service, want := range map[string]string{
		"{}":                             "",
		"{externalTrafficPolicy: Local}": "",
		"{type: NodePort, externalTrafficPolicy: Local}": "",
		"{type: ClusterIP, externalTrafficPolicy: Cluster, loadBalancerSourceRanges: [], loadBalancerSourceRangesPolicy: Allow}":                 "",
		"{type: LoadBalancer, loadBalancerClass: example.com/a, loadBalancerSourceRanges: [192.0.2.0/24], allocateLoadBalancerNodePorts: false}": "",
		"{ipFamilies: [IPv4], ipFamilyPolicy: SingleStack}":          "",
		"{type: ClusterIP, externalTrafficPolicy: Local}":            "externalTrafficPolicy Local needs type LoadBalancer or NodePort",
		"{type: NodePort, loadBalancerClass: example.com/a}":         "need type LoadBalancer",
		"{type: ClusterIP, allocateLoadBalancerNodePorts: false}":    "need type LoadBalancer",
		"{type: NodePort, loadBalancerSourceRanges: [192.0.2.0/24]}": "need type LoadBalancer",
		"{ipFamilies: [IPv4, IPv6], ipFamilyPolicy: SingleStack}":    "leaves room for one of ipFamilies",
	} {
		var object map[string]any
		if err := yaml.Unmarshal([]byte("{metadata: {name: a}, spec: {service: "+service+"}}"), &object); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(schema.Validate(object)); want == "" && got != "[]" || !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %q", service, got, want)
		}
	}
}
