package agent

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestPlaceOf(t *testing.T) {
	for _, c := range []struct {
		cidrs, addresses []string
		want, awaited    string
		families         Families
	}{
		{[]string{"10.0.1.0/24"}, []string{"172.18.0.1", "192.0.2.1"}, "PodCIDRs [10.0.1.0/24], addresses [172.18.0.1 192.0.2.1]", "", Families{}},
		{[]string{"10.0.1.0/24", "fd00::/64"}, []string{"172.18.0.1", "fc00::1"}, "PodCIDRs [10.0.1.0/24 fd00::/64], addresses [172.18.0.1 fc00::1]", "", Families{}},
		{nil, []string{"172.18.0.1"}, "", "for spec.podCIDRs of node n1: is the controller manager run with --allocate-node-cidrs?", Families{}},
		{[]string{"10.0.1.0/24"}, nil, "",
			"for an InternalIP of family IPv4 in status.addresses of node n1, as its PodCIDR 10.0.1.0/24 is: kubelet (--node-ip) or the cloud provider sets it", Families{}},
		{[]string{"10.0.1.0/24", "fd00::/64"}, []string{"172.18.0.1"}, "",
			"for an InternalIP of family IPv6 in status.addresses of node n1, as its PodCIDR fd00::/64 is: kubelet (--node-ip) or the cloud provider sets it", Families{}},
		{[]string{"10.0.1.0/24", "fd00::/64"}, []string{"172.18.0.1", "fc00::1"}, "PodCIDRs [10.0.1.0/24], addresses [172.18.0.1 fc00::1]", "", Families{IPv6: FamilyOff}},
		{[]string{"10.0.1.0/24", "fd00::/64"}, []string{"fc00::1"}, "PodCIDRs [fd00::/64], addresses [fc00::1]", "", Families{IPv4: FamilyOff, IPv6: FamilyOn}},
		{[]string{"10.0.1.0/24"}, []string{"172.18.0.1"}, "",
			"for a range of family IPv6 in spec.podCIDRs of node n1, which has [10.0.1.0/24]: --enable-ipv6 demands one, and the controller manager gives it (--cluster-cidr)", Families{IPv4: FamilyOn, IPv6: FamilyOn}},
		{[]string{"10.0.1.0/24"}, []string{"172.18.0.1"}, "",
			"for a range in spec.podCIDRs of node n1 of a family that is not switched off, it has [10.0.1.0/24]: see --enable-ipv4 and --enable-ipv6", Families{IPv4: FamilyOff}},
		{nil, nil, "", "for spec.podCIDRs of node n1: is the controller manager run with --allocate-node-cidrs?", Families{IPv6: FamilyOn}},
	} {
		o := &corev1.Node{Spec: corev1.NodeSpec{PodCIDRs: c.cidrs}}
		o.Name = "n1"
		o.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeHostName, Address: "n1"}, {Type: corev1.NodeExternalIP, Address: "203.0.113.1"}}
		for _, a := range c.addresses {
			o.Status.Addresses = append(o.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: a})
		}
		p, awaited := PlaceOf(o, c.families)
		if awaited != c.awaited || awaited == "" && fmt.Sprint(p) != c.want {
			t.Errorf("%v, %v: %s, waits %q\nwant %s, %q", c.cidrs, c.addresses, p, awaited, c.want, c.awaited)
		}
	}
}

// TestOwnAddresses: a family that the cluster's pods have not does not count.
func TestOwnAddresses(t *testing.T) {
	for _, c := range []struct {
		cidrs []string
		want  string
	}{
		{[]string{"10.0.1.0/24"}, "172.18.0.1, invalid IP"},
		{[]string{"fd00::/64"}, "invalid IP, fc00::1"},
		{[]string{"fd00::/64", "10.0.1.0/24"}, "172.18.0.1, fc00::1"},
	} {
		o := &corev1.Node{Spec: corev1.NodeSpec{PodCIDRs: c.cidrs}}
		for _, a := range []string{"172.18.0.1", "fc00::1", "172.18.0.2", "fc00::2"} {
			o.Status.Addresses = append(o.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: a})
		}
		p, _ := PlaceOf(o, Families{})
		if v4, v6 := p.Own(); fmt.Sprintf("%s, %s", v4, v6) != c.want {
			t.Errorf("pods in %v: %s, %s, want %s", c.cidrs, v4, v6, c.want)
		}
	}
}
