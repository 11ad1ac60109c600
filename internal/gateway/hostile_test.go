package gateway

import (
	"strings"
	"testing"
	"unicode/utf8"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/randfill"
	"sigs.k8s.io/yaml"

	"github.com/waggle-mesh/waggle/internal/gateway/field"
	"github.com/waggle-mesh/waggle/internal/golden"
	"github.com/waggle-mesh/waggle/internal/model"
)

// TestSurvivesAnything fills objects with nonsense: nil where the CRDs want a
// value, numbers out of range, words that are none. Nothing may panic, and
// what comes out must be fit for Envoy.
func TestSurvivesAnything(t *testing.T) {
	words := []string{
		"", "a", "cilium", "gw", "http", "default", "Service", "Secret", "HTTPRoute", "Gateway", "gateway.networking.k8s.io",
		"HTTP", "HTTPS", "TLS", "/", "/a", "/a/", "a.example.com", "*.example.com", "*", "\x00", "a\r\nb", "\xff", "%", "(", "1s", "https",
		"Exact", "PathPrefix", "RegularExpression", "RequestRedirect", "URLRewrite", "CORS", "RequestMirror", "ReplacePrefixMatch",
		"RequestHeaderModifier", "ResponseHeaderModifier", "Selector", "All", strings.Repeat("x", 5000), "世界", ":path", "GET", "|",
	}
	for seed := range int64(300) {
		fill := randfill.NewWithSeed(seed).NilChance(0.25).NumElements(0, 4).MaxDepth(30).Funcs(
			func(s *string, c randfill.Continue) { *s = words[c.Intn(len(words))] },
			func(n *int32, c randfill.Continue) {
				*n = []int32{-1, 0, 1, 80, 443, 65535, 65536, 1 << 30}[c.Intn(8)]
			},
		)
		in := parse(t, "kind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 80}]}\n")
		in.stage.PortOffset = 10000
		gw, route := &gatewayv1.Gateway{}, &gatewayv1.HTTPRoute{}
		fill.Fill(&gw.Spec)
		fill.Fill(&route.Spec)
		gw.Name, gw.Namespace, gw.Spec.GatewayClassName = "gw", "default", "cilium"
		route.Name, route.Namespace = "a", "default"
		gw.Spec.TLS, gw.Spec.Infrastructure, gw.Spec.Addresses = nil, nil, nil
		route.Spec.ParentRefs = append(route.Spec.ParentRefs, gatewayv1.ParentReference{Name: "gw"})
		if seed%2 == 0 {
			route.Spec.Hostnames = nil
			gw.Spec.Listeners = append(gw.Spec.Listeners, gatewayv1.Listener{Name: "fine", Port: 8080, Protocol: "HTTP"})
		}
		in.gateways, in.routes = append(in.gateways, gw), append(in.routes, route)
		checkFit(t, in)
	}
}

// FuzzHTTPRoute reads a manifest's spec the way a lenient decoder would. Of
// objects with one name the first counts, as it does wherever they come from.
func FuzzHTTPRoute(f *testing.F) {
	for _, c := range golden.Cases(f, "testdata/HTTPRoute*.txtar") {
		f.Add(c.Section("in.yaml"))
	}
	f.Fuzz(func(t *testing.T, text string) {
		in := parse(t, "")
		seen := map[string]bool{}
		first := func(kind, namespace, name string) bool {
			key := model.Join(kind, namespace, name)
			defer func() { seen[key] = true }()
			return !seen[key]
		}
		for document := range strings.SplitSeq(text, "\n---\n") {
			gw, route := &gatewayv1.Gateway{}, &gatewayv1.HTTPRoute{}
			if yaml.Unmarshal([]byte(document), gw) == nil && gw.Spec.Listeners != nil && first("Gateway", gw.Namespace, gw.Name) {
				in.gateways = append(in.gateways, gw)
			}
			if yaml.Unmarshal([]byte(document), route) == nil && route.Spec.ParentRefs != nil && first("HTTPRoute", route.Namespace, route.Name) {
				in.routes = append(in.routes, route)
			}
		}
		checkFit(t, in)
	})
}

// checkFit looks for anything in the model that its own rules exclude.
func checkFit(t *testing.T, in *objects) {
	t.Helper()
	var facts testFacts
	x := translate(in)
	facts.run(in)
	checkKeys(t, x)
	for _, l := range x.listeners {
		if l.Port == 0 || l.BindPort == 0 || len(l.Chains) == 0 {
			t.Fatalf("listener %+v", l)
		}
	}
	for _, v := range x.hosts {
		if v.Host != anyHost && !field.ValidHostname(v.Host) {
			t.Fatalf("host %q", v.Host)
		}
		for _, r := range v.Routes {
			checkRoute(t, r)
		}
	}
}

func checkRoute(t *testing.T, r model.Route) {
	t.Helper()
	if n := boolCount(r.Forward != nil, r.Redirect != nil, r.Respond != nil); n != 1 {
		t.Fatalf("%d actions: %+v", n, r)
	}
	if r.Match.Path.Kind != model.PathRegex && !strings.HasPrefix(r.Match.Path.Value, "/") {
		t.Fatalf("path %+v", r.Match)
	}
	mutations := []model.HeaderMutation{r.RequestHeaders, r.ResponseHeaders}
	if f := r.Forward; f != nil {
		usable := false
		for _, b := range f.Backends {
			mutations = append(mutations, b.RequestHeaders, b.ResponseHeaders)
			usable = usable || !b.Backend.IsZero()
			if b.Weight < 1 || b.Weight > 1_000_000 {
				t.Fatalf("weight %d", b.Weight)
			}
		}
		for _, m := range f.Mirrors {
			if m.Backend.IsZero() || m.Numerator < 1 || m.Numerator > m.Denominator {
				t.Fatalf("mirror %+v", m)
			}
		}
		if !usable || f.Timeout < 0 || f.BackendTimeout < 0 {
			t.Fatalf("forward %+v", f)
		}
	}
	for _, m := range mutations {
		for _, h := range append(m.Set, m.Add...) {
			if !field.ValidToken(h.Name) || strings.ContainsAny(h.Value, "\r\n\x00") || !utf8.ValidString(h.Value) {
				t.Fatalf("header %q", h)
			}
		}
	}
}

func boolCount(list ...bool) (n int) {
	for _, b := range list {
		if b {
			n++
		}
	}
	return n
}

func TestSupportedFeaturesAreSorted(t *testing.T) {
	features := Stage{Infrastructure: true}.ClassStatus(Class{Ours: true}, anyField).SupportedFeatures
	for i := 1; i < len(features); i++ {
		if features[i-1].Name >= features[i].Name {
			t.Errorf("%s stands before %s", features[i-1].Name, features[i].Name)
		}
	}
}

// anyField is a schema that has all fields.
func anyField(string) bool { return true }
