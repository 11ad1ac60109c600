package operator

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/gateway"
	"github.com/waggle-mesh/waggle/internal/model"
)

func testGateway(name, class string) model.Object[*gatewayv1.Gateway] {
	return model.Object[*gatewayv1.Gateway]{
		Name: model.Name{Namespace: "default", Name: name}, Version: name + class,
		Value: &gatewayv1.Gateway{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
			Spec: gatewayv1.GatewaySpec{
				GatewayClassName: gatewayv1.ObjectName(class),
				Listeners:        []gatewayv1.Listener{{Name: "http", Port: 80, Protocol: gatewayv1.HTTPProtocolType}},
			},
		},
	}
}

func testClass(name, controller string) model.Object[*gatewayv1.GatewayClass] {
	return model.Object[*gatewayv1.GatewayClass]{Name: model.Name{Name: name}, Value: &gatewayv1.GatewayClass{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       gatewayv1.GatewayClassSpec{ControllerName: gatewayv1.GatewayController(controller)},
	}}
}

// TestTakenPorts: of those at one address and port the oldest has it, in
// whichever order they come and go.
func TestTakenPorts(t *testing.T) {
	var tables flow.Graph
	in := NewInputs(&tables)
	answers := NewAnswers(&tables)
	o := New(&tables, in, answers, Settings{ImpliedClass: "c"})
	shared, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	put := func(name string, age time.Duration, at netip.Addr) {
		gw := testGateway(name, "c")
		gw.Value.CreationTimestamp = metav1.NewTime(time.Unix(1_700_000_000, 0).Add(-age))
		in.Gateways.Set(gw)
		answers.Addresses.Set(Address{Gateway: gw.Name, Addresses: []netip.Addr{at}})
	}
	taken := func(want ...string) {
		t.Helper()
		if err := tables.Commit(); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, p := range o.TakenPorts.All() {
			got = append(got, p.Listener)
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("taken are %q, want %q", got, want)
		}
	}
	put("young", time.Minute, shared)
	taken()
	put("old", time.Hour, shared)
	put("alone", 0, other)
	taken("default|young|80")
	put("twin", time.Hour, shared)
	taken("default|twin|80", "default|young|80")
	answers.Addresses.Set(Address{Gateway: model.Name{Namespace: "default", Name: "old"}, Problem: gateway.Problem{Reason: "AddressNotUsable"}})
	taken("default|young|80")
	in.Gateways.Delete("default/twin")
	taken()
}
