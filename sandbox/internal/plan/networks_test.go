package plan

import (
	"net/netip"
	"strings"
	"testing"
)

func TestFillGivesEveryMemberItsAddresses(t *testing.T) {
	p := &Plan{Name: "a", Dir: "/home/a", Cache: "/home/b", Networks: DefaultNetworks(Families["ipv6,ipv4"], 1), LBMode: LBRouted, LBNode: "n2"}
	if err := p.Fill(2); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, m := range p.Members {
		lines = append(lines, m.Name+" "+Join(m.IPs)+" "+Join(m.PodCIDRs))
	}
	want := `ext fd93:1::c8,10.94.0.200 
cp fd93:1::1,10.94.0.1 
n1 fd93:1::b,10.94.0.11 fd00:244:0:1::/64,10.244.1.0/24
n2 fd93:1::c,10.94.0.12 fd00:244:0:2::/64,10.244.2.0/24`
	if got := strings.Join(lines, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := p.ServiceIP(10).String() + " " + p.APIServer(); got != "fd00:96::a https://[fd93:1::1]:6443" {
		t.Error(got)
	}
}

func TestFillRefuses(t *testing.T) {
	for want, change := range map[string]func(*Plan){
		"overlaps":                 func(p *Plan) { p.LBCIDRs = p.PodCIDRs },
		"has another family":       func(p *Plan) { p.LBCIDRs = []netip.Prefix{netip.MustParsePrefix("fd00::/112")} },
		"has bits set":             func(p *Plan) { p.LBCIDRs = []netip.Prefix{netip.MustParsePrefix("172.18.0.1/24")} },
		"one for each family":      func(p *Plan) { p.ServiceCIDRs = nil },
		"a /16 at least":           func(p *Plan) { p.PodCIDRs = []netip.Prefix{netip.MustParsePrefix("10.244.0.0/24")} },
		"a /24 or a /120 at least": func(p *Plan) { p.NodeCIDRs = []netip.Prefix{netip.MustParsePrefix("10.93.0.0/30")} },
		"-name":                    func(p *Plan) { p.Name = "a/b" },
		"-lb-node n9":              func(p *Plan) { p.LBNode = "n9" },
		"-cache /etc/x":            func(p *Plan) { p.Cache = "/etc/x" },
	} {
		p := &Plan{Name: "a", Dir: "/home/a", Cache: "/home/b", Networks: DefaultNetworks(Families["ipv4"], 0), LBMode: LBRouted, LBNode: "n1"}
		change(p)
		if err := p.Fill(1); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

func TestNthCarries(t *testing.T) {
	if got := Nth(netip.MustParsePrefix("10.93.0.0/16"), 300).String(); got != "10.93.1.44" {
		t.Error(got)
	}
}

func TestSaveAndLoad(t *testing.T) {
	p := &Plan{Name: "a", Dir: t.TempDir(), Networks: DefaultNetworks(Families["ipv4,ipv6"], 0), Flags: []string{"etcd=--x"}}
	if err := p.Save(); err != nil {
		t.Fatal(err)
	}
	q, err := Load(p.Dir)
	if err != nil || !p.Equal(q) {
		t.Errorf("%v: %+v is not %+v", err, q, p)
	}
	q.Flags = nil
	if p.Equal(q) {
		t.Error("equal in spite of another flag")
	}
}
