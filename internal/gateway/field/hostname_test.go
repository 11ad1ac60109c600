package field

import (
	"strings"
	"testing"
)

// matchesHost is what the API says of a hostname and a request's host.
func matchesHost(pattern, host string) bool {
	if pattern == "" {
		return true
	}
	if suffix, wild := strings.CutPrefix(pattern, "*."); wild {
		labels, suffixes := strings.Split(host, "."), strings.Split(suffix, ".")
		if len(labels) <= len(suffixes) {
			return false
		}
		return strings.Join(labels[len(labels)-len(suffixes):], ".") == suffix
	}
	return pattern == host
}

// someHosts are hosts that tell patterns apart.
func someHosts(patterns ...string) []string {
	out := []string{"a", "b.a", "other"}
	for _, p := range patterns {
		suffix := strings.TrimPrefix(p, "*.")
		for _, h := range []string{suffix, "x." + suffix, "x.y." + suffix, "x" + suffix} {
			out = append(out, strings.Trim(h, "."))
		}
	}
	return out
}

func FuzzHostnames(f *testing.F) {
	f.Add("*.example.com", "a.example.com")
	f.Add("*.example.com", "*.a.example.com")
	f.Add("", "*.example.com")
	f.Add("example.com", "*.example.com")
	f.Add("*.com", "aexample.com")
	f.Add("*.a", "*.aa")
	f.Fuzz(func(t *testing.T, a, b string) {
		if a != "" && !ValidHostname(a) || b != "" && !ValidHostname(b) {
			return // no hostnames
		}
		both, ok := Intersect(a, b)
		hosts := someHosts(a, b)
		for _, h := range hosts {
			if want, got := matchesHost(a, h) && matchesHost(b, h), ok && matchesHost(both, h); got != want {
				t.Errorf("%q and %q intersect in %q, %v: host %q matches: %v, want %v", a, b, both, ok, h, got, want)
			}
		}
		subset := true
		for _, h := range hosts {
			subset = subset && (matchesHost(a, h) || !matchesHost(b, h))
		}
		if Covers(a, b) != subset {
			t.Errorf("Covers(%q, %q) = %v", a, b, !subset)
		}
		if _, again := Intersect(b, a); ok != again {
			t.Errorf("Intersect(%q, %q) depends on the order", a, b)
		}
	})
}

func TestValidHostname(t *testing.T) {
	for h, want := range map[string]bool{
		"a": true, "a.b-c.d0": true, "*.a": true, strings.Repeat("a.", 126) + "a": true,
		"": false, "*": false, "*.*.a": false, "a.*": false, ".a": false, "a.": false, "-a": false, "a-": false, "A": false,
		"a_b": false, "10.0.0.1": false, "::1": false, "a|b": false, "a:80": false, "a b": false, strings.Repeat("a.", 127): false,
	} {
		if got := ValidHostname(h); got != want {
			t.Errorf("ValidHostname(%q) = %v", h, got)
		}
	}
}
