package service

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"sigs.k8s.io/yaml"

	"github.com/waggle-mesh/waggle/internal/model"
)

const web = `
spec:
  ports: [{name: http, port: 80}, {name: dns, port: 53, protocol: UDP}, {port: 81}]`

func TestEndpoints(t *testing.T) {
	for _, test := range []struct {
		name    string
		service string
		port    uint16
		slices  []string
		want    string
	}{
		{"ready ones, sorted, once", web, 80, []string{
			`{ports: [{name: http, port: 8080}], endpoints: [{addresses: [10.0.0.2]}, {addresses: [10.0.0.1], conditions: {ready: true}}]}`,
			`{ports: [{name: http, port: 8081}, {name: x, port: 1}], endpoints: [{addresses: [10.0.0.1]}]}`,
			`{ports: [{name: http, port: 8080}], endpoints: [{addresses: [10.0.0.2]}]}`,
		}, "10.0.0.1:8080 10.0.0.1:8081 10.0.0.2:8080"},
		{"not the one that is not ready", web, 80, []string{
			`{ports: [{name: http, port: 8080}], endpoints: [{addresses: [10.0.0.2], conditions: {ready: false}}, {addresses: [10.0.0.1]}]}`,
		}, "10.0.0.1:8080"},
		{"terminating only while none is ready", web, 80, []string{
			`{ports: [{name: http, port: 8080}], endpoints: [
			  {addresses: [10.0.0.1], conditions: {ready: false, serving: true, terminating: true}},
			  {addresses: [10.0.0.2], conditions: {ready: false, serving: false, terminating: true}},
			  {addresses: [10.0.0.3], conditions: {ready: false, serving: true}}]}`,
		}, "10.0.0.1:8080"},
		{"not terminating beside ready", web, 80, []string{
			`{ports: [{name: http, port: 8080}], endpoints: [
			  {addresses: [10.0.0.1], conditions: {ready: false, serving: true, terminating: true}}, {addresses: [10.0.0.2]}]}`,
		}, "10.0.0.2:8080"},
		{"port without a name", web, 81, []string{`{ports: [{port: 8080}], endpoints: [{addresses: [10.0.0.1]}]}`}, "10.0.0.1:8080"},
		{"port with an empty name", web, 81, []string{`{ports: [{name: "", port: 8080}], endpoints: [{addresses: [10.0.0.1]}]}`}, "10.0.0.1:8080"},
		{"another port's name", web, 80, []string{`{ports: [{name: https, port: 8080}], endpoints: [{addresses: [10.0.0.1]}]}`}, ""},
		{"UDP port", web, 53, []string{`{ports: [{name: dns, port: 53, protocol: UDP}], endpoints: [{addresses: [10.0.0.1]}]}`}, ""},
		{"no such port", web, 82, []string{`{ports: [{port: 8080}], endpoints: [{addresses: [10.0.0.1]}]}`}, ""},
		{"IPv6", web, 80, []string{`{addressType: IPv6, ports: [{name: http, port: 8080}], endpoints: [{addresses: ["fd00::1"]}]}`}, "[fd00::1]:8080"},
		{"host names", web, 80, []string{`{addressType: FQDN, ports: [{name: http, port: 8080}], endpoints: [{addresses: [example.com]}]}`}, ""},
		{"what is no address", web, 80, []string{`{ports: [{name: http, port: 8080}], endpoints: [{addresses: [x]}, {addresses: []}, {addresses: ["fe80::1%eth0"]}]}`}, ""},
		{"what is another host on each node", web, 80, []string{`{ports: [{name: http, port: 8080}], endpoints: [{addresses: [127.0.0.1]}, {addresses: ["::1"]},
			{addresses: ["::ffff:127.0.0.1"]}, {addresses: ["::ffff:10.0.0.1"]}, {addresses: [0.0.0.0]}, {addresses: [169.254.169.254]}, {addresses: [224.0.0.1]},
			{addresses: [255.255.255.255]}, {addresses: ["fe80::1"]}, {addresses: ["ff02::1"]}]}`}, ""},
		{"what is no port", web, 80, []string{`{ports: [{name: http}, {name: http, port: 70000}], endpoints: [{addresses: [10.0.0.1]}]}`}, ""},
		{"ExternalName", "spec: {type: ExternalName, externalName: example.com, ports: [{port: 80}]}", 80, []string{`{ports: [{port: 8080}], endpoints: [{addresses: [10.0.0.1]}]}`}, ""},
		{"no Service", "", 80, []string{`{ports: [{port: 8080}], endpoints: [{addresses: [10.0.0.1]}]}`}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			var object *corev1.Service
			if test.service != "" {
				object = &corev1.Service{}
				parse(t, test.service, object)
			}
			var endpointSlices []*discoveryv1.EndpointSlice
			for _, text := range test.slices {
				slice := &discoveryv1.EndpointSlice{}
				parse(t, text, slice)
				endpointSlices = append(endpointSlices, slice)
			}
			name := model.Name{Namespace: "default", Name: "web"}
			got := Endpoints(name, test.port, object, endpointSlices)
			if got.Service != name || got.Port != test.port {
				t.Errorf("endpoints of %s port %d", got.Service, got.Port)
			}
			if got := strings.Trim(fmt.Sprint(got.Addresses), "[]"); got != strings.Trim(test.want, "[]") {
				t.Errorf("addresses %s, want %s", got, test.want)
			}
		})
	}
}

func parse(t *testing.T, text string, into any) {
	t.Helper()
	if err := yaml.UnmarshalStrict([]byte(strings.ReplaceAll(text, "\t", " ")), into); err != nil {
		t.Fatal(err)
	}
}

// On one machine backends may listen on loopback.
func TestEndpointsHere(t *testing.T) {
	port, number := "http", int32(8080)
	owner := &corev1.Service{Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: port, Port: 80}}}}
	slice := &discoveryv1.EndpointSlice{
		Ports:     []discoveryv1.EndpointPort{{Name: &port, Port: &number}},
		Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"127.0.0.1"}}, {Addresses: []string{"169.254.169.254"}}},
	}
	got := EndpointsHere(model.Name{Namespace: "default", Name: "web"}, 80, owner, []*discoveryv1.EndpointSlice{slice}).Addresses
	if want := netip.MustParseAddrPort("127.0.0.1:8080"); len(got) != 1 || got[0] != want {
		t.Errorf("got %v, want %s", got, want)
	}
}
