package ipam

import (
	"errors"
	"fmt"
	"math/rand"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func ranges(texts ...string) (all []netip.Prefix) {
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

func newPool(t *testing.T, texts ...string) *Pool {
	t.Helper()
	p, err := New(ranges(texts...))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func allocate(t *testing.T, p *Pool, owner string) string {
	t.Helper()
	addresses, err := p.Allocate(owner)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(addresses)
}

func TestFirstAddresses(t *testing.T) {
	for _, c := range []struct{ ranges, routers, ingress, first, second string }{
		{"10.0.1.0/24", "[10.0.1.1]", "[10.0.1.2]", "[10.0.1.3]", "[10.0.1.4]"},
		{"fd00:1::/64", "[fd00:1::1]", "[fd00:1::2]", "[fd00:1::3]", "[fd00:1::4]"},
		{"fd00:1::/64 10.0.1.0/24", "[fd00:1::1 10.0.1.1]", "[fd00:1::2 10.0.1.2]", "[fd00:1::3 10.0.1.3]", "[fd00:1::4 10.0.1.4]"},
		{"10.0.1.0/29 10.0.2.0/29", "[10.0.1.1]", "[10.0.1.2]", "[10.0.1.3]", "[10.0.1.4]"},
	} {
		p := newPool(t, strings.Fields(c.ranges)...)
		got := []string{fmt.Sprint(p.Routers()), fmt.Sprint(p.Ingress()), allocate(t, p, "a"), allocate(t, p, "b")}
		if want := []string{c.routers, c.ingress, c.first, c.second}; !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", c.ranges, got, want)
		}
		if again := allocate(t, p, "a"); again != c.first {
			t.Errorf("%s: the same owner again: %s", c.ranges, again)
		}
	}
}

// TestUsedLast: an address that was released comes back when no other is left,
// and of those the one released first.
func TestUsedLast(t *testing.T) {
	p := newPool(t, "10.0.1.0/29") // 3 4 5 6
	a, b := allocate(t, p, "a"), allocate(t, p, "b")
	p.Release("b")
	p.Release("a")
	got := []string{allocate(t, p, "c"), allocate(t, p, "d"), allocate(t, p, "e"), allocate(t, p, "f")}
	if want := []string{"[10.0.1.5]", "[10.0.1.6]", b, a}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	again := newPool(t, "10.0.1.0/29")
	p.Release("c")
	p.Release("f")
	if err := again.Hold("d", []netip.Addr{netip.MustParseAddr("10.0.1.6")}); err != nil {
		t.Fatal(err)
	}
	again.Rest(p.Released())
	if got, want := []string{allocate(t, again, "x"), allocate(t, again, "y")}, []string{"[10.0.1.4]", "[10.0.1.5]"}; !slices.Equal(got, want) {
		t.Errorf("after a restart %v, want %v", got, want)
	}
}

// TestExhausted names each range with its counts, and takes nothing of the
// other family.
func TestExhausted(t *testing.T) {
	p := newPool(t, "fd00:1::/64", "10.0.1.0/29", "10.0.2.0/30")
	for i := range 6 {
		allocate(t, p, fmt.Sprint(i))
	}
	for range 2 {
		_, err := p.Allocate("one too many")
		var exhausted *ExhaustedError
		if !errors.As(err, &exhausted) {
			t.Fatalf("error %v", err)
		}
		want := "no free IPv4 address: PodCIDR 10.0.1.0/29: 4 of 4 in use; PodCIDR 10.0.2.0/30: 2 of 2 in use"
		if err.Error() != want {
			t.Errorf("error %q, want %q", err, want)
		}
	}
	if u := p.Usage()[2]; u.Used != 6 {
		t.Errorf("usage of IPv6: %+v", u)
	}
	p.Release("5")
	if a := allocate(t, p, "six"); a != "[fd00:1::9 10.0.2.2]" {
		t.Errorf("after a release: %s", a)
	}
}

func TestBadRanges(t *testing.T) {
	for text, want := range map[string]string{
		"":                        "no PodCIDR",
		"10.0.1.0/31":             "PodCIDR 10.0.1.0/31: has 2 addresses, of which 4 are not for pods",
		"10.0.1.0/30":             "has 4 addresses, of which 4 are not for pods",
		"10.0.1.1/32":             "has 1 addresses",
		"fd00::/127":              "has 2 addresses, of which 3 are not for pods",
		"10.0.1.7/24":             "PodCIDR 10.0.1.7/24: bits are set behind the prefix",
		"10.0.0.0/16 10.0.1.0/24": "PodCIDRs 10.0.0.0/16 and 10.0.1.0/24 overlap",
	} {
		if _, err := New(ranges(strings.Fields(text)...)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", text, err, want)
		}
	}
	if _, err := New(ranges("fd00::/126", "0.0.0.0/0")); err != nil {
		t.Error(err)
	}
}

// TestHold: of one address there is one owner, also of one that is in no range.
func TestHold(t *testing.T) {
	p := newPool(t, "10.0.1.0/29")
	addresses := []netip.Addr{netip.MustParseAddr("10.0.1.3"), netip.MustParseAddr("172.16.0.9")}
	if err := p.Hold("a", addresses); err != nil {
		t.Fatal(err)
	}
	if err := p.Hold("b", addresses[1:]); err == nil || !strings.Contains(err.Error(), "172.16.0.9 of b belongs to a") {
		t.Errorf("error %v", err)
	}
	if got := allocate(t, p, "b"); got != "[10.0.1.4]" {
		t.Errorf("allocated %s", got)
	}
	p.Release("a")
	if u := p.Usage()[0]; u.Used != 1 || u.Capacity != 4 {
		t.Errorf("usage %+v", u)
	}
	if released := p.Released(); len(released) != 1 {
		t.Errorf("released %v: an address of no range is not for others", released)
	}
}

// TestAnyHistory: no address has two owners, none is lost, and none that is
// reserved is given away, whatever happens.
func TestAnyHistory(t *testing.T) {
	for seed := range int64(20) {
		r := rand.New(rand.NewSource(seed))
		p := newPool(t, "10.0.1.0/28", "fd00:1::/124", "10.0.2.0/29")
		held := map[string][]netip.Addr{}
		for range 1000 {
			owner := fmt.Sprint(r.Intn(25))
			switch {
			case r.Intn(50) == 0: // a restart
				released := p.Released()
				p = newPool(t, "10.0.1.0/28", "fd00:1::/124", "10.0.2.0/29")
				for o, a := range held {
					if err := p.Hold(o, a); err != nil {
						t.Fatal(err)
					}
				}
				p.Rest(released)
			case r.Intn(2) == 0:
				p.Release(owner)
				delete(held, owner)
			default:
				a, err := p.Allocate(owner)
				if err == nil {
					held[owner] = a
				} else if len(held) < 13 { // fd00:1::/124 has 13 for pods
					t.Fatalf("seed %d: %d owners: %v", seed, len(held), err)
				}
			}
			verify(t, p, held)
		}
	}
}

func verify(t *testing.T, p *Pool, held map[string][]netip.Addr) {
	t.Helper()
	seen := map[netip.Addr]bool{}
	for owner, addresses := range held {
		if len(addresses) != 2 {
			t.Fatalf("%s has %v", owner, addresses)
		}
		for _, a := range addresses {
			if seen[a] || slices.Contains(p.Routers(), a) || slices.Contains(p.Ingress(), a) || strings.HasSuffix(a.String(), ".0") {
				t.Fatalf("%s has %s", owner, a)
			}
			seen[a] = true
		}
	}
	var used uint64
	for _, u := range p.Usage() {
		used += u.Used
	}
	if used != uint64(len(seen)) {
		t.Fatalf("%d in use, held %d", used, len(seen))
	}
}

// TestManyReleases: what is remembered of a large range is bounded, and the
// oldest come back without a walk over the range.
func TestManyReleases(t *testing.T) {
	p := newPool(t, "fd00:1::/64")
	for i := range 5000 {
		owner := fmt.Sprint(i)
		allocate(t, p, owner)
		p.Release(owner)
	}
	if n := len(p.Released()); n != maxReleased {
		t.Errorf("%d remembered", n)
	}
	before := p.Released()
	if a := allocate(t, p, "next"); slices.Contains(before, netip.MustParseAddr(strings.Trim(a, "[]"))) {
		t.Errorf("next is %s, which was released of late", a)
	}
}
