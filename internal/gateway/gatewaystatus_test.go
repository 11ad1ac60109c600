package gateway

import (
	"fmt"
	"net/netip"
	"testing"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// TestManyAddresses: a Gateway that answers at more addresses than a status may
// have is said to answer at the first ones, and nothing else changes for it.
func TestManyAddresses(t *testing.T) {
	var facts GatewayFacts
	for i := range 20 {
		facts.Addresses = append(facts.Addresses, netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}))
	}
	facts.Hostnames = []string{"lb.example"}
	last := func(status gatewayv1.GatewayStatus) string {
		return fmt.Sprint(len(status.Addresses), " ", status.Addresses[len(status.Addresses)-1].Value)
	}
	if got := last(GatewayStatus(Gateway{Standing: Ours}, facts)); got != "16 192.0.2.15" {
		t.Errorf("the status has %s", got)
	}
	facts.Addresses = facts.Addresses[:2]
	if got := last(GatewayStatus(Gateway{Standing: Ours}, facts)); got != "3 lb.example" {
		t.Errorf("the status has %s", got)
	}
}
