package crd

import (
	"bytes"
	"encoding/json"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
)

// TestProverKnowsTheRules compiles every rule: one that does not would send
// every object it applies to the slow way.
func TestProverKnowsTheRules(t *testing.T) {
	for _, kind := range []string{"GatewayClass", "Gateway", "HTTPRoute", "ReferenceGrant", "CiliumGatewayClassConfig"} {
		schema := New(kind)
		schema.once.Do(schema.load)
		eachProver(schema.prover, func(p *prover) {
			if len(p.schema.XValidations) == 0 {
				return
			}
			if err := p.compile(); err != nil {
				t.Errorf("%s: %v", kind, err)
			}
		})
	}
}

func eachProver(p *prover, visit func(*prover)) {
	visit(p)
	for _, child := range p.properties {
		eachProver(child, visit)
	}
	for _, child := range []*prover{p.items, p.additional} {
		if child != nil {
			eachProver(child, visit)
		}
	}
}

// seedObjects exercise all fields that have rules.
var seedObjects = []string{
	`{"kind":"GatewayClass","metadata":{"name":"a"},"spec":{"controllerName":"io.cilium/gateway-controller","parametersRef":{"group":"g","kind":"K","name":"n"}}}`,
	`{"kind":"Gateway","metadata":{"name":"a"},"spec":{"gatewayClassName":"cilium","listeners":[
		{"name":"a","port":80,"protocol":"HTTP","hostname":"a.example.com","allowedRoutes":{"namespaces":{"from":"Selector","selector":{"matchLabels":{"a":"b"}}},"kinds":[{"kind":"HTTPRoute"}]}},
		{"name":"b","port":443,"protocol":"HTTPS","tls":{"mode":"Terminate","certificateRefs":[{"name":"a"}],"options":{"a.b/c":"d"}}}]}}`,
	`{"kind":"ReferenceGrant","metadata":{"name":"a"},"spec":{"from":[{"group":"gateway.networking.k8s.io","kind":"HTTPRoute","namespace":"a"}],"to":[{"group":"","kind":"Service","name":"a"}]}}`,
	`{"kind":"HTTPRoute","metadata":{"name":"a"},"spec":{"parentRefs":[{"name":"a","sectionName":"x"},{"name":"a","sectionName":"y"}],"hostnames":["a.example.com","*.b"],
		"rules":[{"name":"r","matches":[{"path":{"type":"PathPrefix","value":"/a"},"method":"GET","headers":[{"name":"h","value":"v"},{"name":"i","value":"v","type":"RegularExpression"}],"queryParams":[{"name":"q","value":"v"}]}],
		"filters":[{"type":"RequestHeaderModifier","requestHeaderModifier":{"set":[{"name":"a","value":"b"}],"remove":["c","d"]}},
			{"type":"URLRewrite","urlRewrite":{"hostname":"h","path":{"type":"ReplacePrefixMatch","replacePrefixMatch":"/b"}}},
			{"type":"RequestMirror","requestMirror":{"backendRef":{"name":"a","port":80},"fraction":{"numerator":1,"denominator":10}}},
			{"type":"CORS","cors":{"allowOrigins":["https://a.b"],"allowMethods":["GET"],"maxAge":5}}],
		"backendRefs":[{"name":"a","port":80,"weight":1,"filters":[{"type":"ResponseHeaderModifier","responseHeaderModifier":{"add":[{"name":"x","value":"y"}]}}]}],
		"timeouts":{"request":"2s","backendRequest":"1s"},"retry":{"codes":[500],"attempts":2,"backoff":"100ms"},
		"sessionPersistence":{"sessionName":"s","type":"Cookie","absoluteTimeout":"1h","cookieConfig":{"lifetimeType":"Permanent"}}},
		{"filters":[{"type":"RequestRedirect","requestRedirect":{"scheme":"https","statusCode":301,"port":443,"path":{"type":"ReplaceFullPath","replaceFullPath":"/x"}}}]}]}}`,
}

// spice are the values that random changes write.
var spice = []any{
	"", "a", "/a", "/a//b", "/%2f", "/..", "PathPrefix", "Exact", "RegularExpression", "RequestRedirect", "URLRewrite", "CORS", "ExtensionRef",
	"HTTP", "HTTPS", "TLS", "TCP", "*", "*.a", "A", "1s", "3s", "0s", "Service", "b", "x", "ReplaceFullPath", "Terminate", "Passthrough", "Header",
	int64(0), int64(1), int64(-1), int64(80), int64(301), int64(65536), int64(1 << 40), 1.5, true, nil, []any{}, map[string]any{},
}

// TestProverIsRight changes objects at random: what the prover proves the API
// server's own code must find right. And what that code finds right the
// prover should prove, if it is not to be pointless.
func TestProverIsRight(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	right, proved := 0, 0
	for _, seed := range seedObjects {
		decoder := json.NewDecoder(bytes.NewReader([]byte(seed)))
		var original map[string]any
		if err := decoder.Decode(&original); err != nil {
			t.Fatal(err)
		}
		wholeNumbers(original)
		schema := New(original["kind"].(string))
		schema.SetDefaults(original)
		if !schema.prover.proves(original) {
			t.Fatalf("%s: %v", original["kind"], schema.judge(original))
		}
		for range 100 {
			tree := runtime.DeepCopyJSON(original)
			for range 1 + random.IntN(3) {
				mutate(tree["spec"], random)
			}
			schema.SetDefaults(tree)
			errs := schema.judge(tree)
			proof := schema.prover.proves(tree)
			if proof && len(errs) > 0 {
				text, _ := json.Marshal(tree)
				t.Fatalf("proved right: %s\n%v", text, errs)
			}
			if len(errs) == 0 {
				right++
			}
			if proof {
				proved++
			}
		}
	}
	if right < 30 || proved < right*95/100 {
		t.Errorf("%d objects are right, %d of them proved", right, proved)
	}
}

// wholeNumbers makes integers of JSON's numbers.
func wholeNumbers(x any) any {
	switch x := x.(type) {
	case float64:
		return int64(x)
	case []any:
		for i := range x {
			x[i] = wholeNumbers(x[i])
		}
	case map[string]any:
		for key := range x {
			x[key] = wholeNumbers(x[key])
		}
	}
	return x
}

// mutate changes one thing somewhere below x: removes it, doubles it, or puts
// something else there.
func mutate(x any, random *rand.Rand) {
	switch x := x.(type) {
	case map[string]any:
		keys := slices.Sorted(maps.Keys(x))
		if len(keys) == 0 {
			return
		}
		key := keys[random.IntN(len(keys))]
		_, leaf := x[key].(string)
		switch pick := random.IntN(12); {
		case pick == 0:
			delete(x, key)
		case pick == 1 || leaf:
			x[key] = spice[random.IntN(len(spice))]
		default:
			if list, ok := x[key].([]any); ok && len(list) > 0 && pick == 2 {
				x[key] = append(list, runtime.DeepCopyJSONValue(list[random.IntN(len(list))]))
			}
			mutate(x[key], random)
		}
	case []any:
		if len(x) == 0 {
			return
		}
		i := random.IntN(len(x))
		if random.IntN(10) == 0 {
			x[i] = spice[random.IntN(len(spice))]
			return
		}
		mutate(x[i], random)
	}
}
