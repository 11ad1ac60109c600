package chart

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/cel-go/cel"
	"sigs.k8s.io/yaml"
)

// policy is what of a ValidatingAdmissionPolicy decides.
type policy struct {
	Spec struct {
		MatchConditions []expression
		Variables       []expression
		Validations     []expression
	}
}

type expression struct{ Name, Expression, Message string }

// judge gives what the policy says against an object, "" if nothing.
func (p policy) judge(t *testing.T, object, old any) string {
	t.Helper()
	variables := map[string]any{}
	values := map[string]any{"object": object, "oldObject": old, "variables": variables}
	for _, c := range p.Spec.MatchConditions {
		if evaluate(t, c.Expression, values) != true {
			return ""
		}
	}
	for _, v := range p.Spec.Variables {
		variables[v.Name] = evaluate(t, v.Expression, values)
	}
	for _, v := range p.Spec.Validations {
		if evaluate(t, v.Expression, values) != true {
			return v.Message
		}
	}
	return ""
}

func evaluate(t *testing.T, text string, values map[string]any) any {
	t.Helper()
	env, err := cel.NewEnv(cel.Variable("object", cel.DynType), cel.Variable("oldObject", cel.DynType), cel.Variable("variables", cel.MapType(cel.StringType, cel.DynType)))
	if err != nil {
		t.Fatal(err)
	}
	ast, issues := env.Compile(text)
	if issues.Err() != nil {
		t.Fatalf("%v in\n%s", issues.Err(), text)
	}
	program, err := env.Program(ast)
	if err != nil {
		t.Fatal(err)
	}
	out, _, err := program.Eval(values)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return out.Value()
}

// TestEnvoyConfigPolicy: the API server refuses what it can tell, and nothing
// that is right, nor an update that leaves the spec alone.
func TestEnvoyConfigPolicy(t *testing.T) {
	text, err := Waggle.ReadFile("waggle/templates/envoyconfig.yaml")
	if err != nil {
		t.Fatal(err)
	}
	plain := regexp.MustCompile(`\{\{[^}]*\}\}`).ReplaceAllString(string(text), "")
	var p policy
	if err := yaml.Unmarshal([]byte(strings.Split(plain, "\n---\n")[0]), &p); err != nil {
		t.Fatal(err)
	}
	if len(p.Spec.Validations) != 3 {
		t.Fatalf("%d validations", len(p.Spec.Validations))
	}
	const listener = `{"@type": type.googleapis.com/envoy.config.listener.v3.Listener, name: l`
	for _, test := range []struct{ name, object, want string }{
		{"good", "{metadata: {namespace: a}, spec: {services: [{name: web}, {name: x, namespace: a}, {name: x, namespace: ''}], resources: [" + listener + "}]}}", ""},
		{"empty", "{metadata: {namespace: a}}", ""},
		{"no resources", "{metadata: {namespace: a}, spec: {services: [{name: web}]}}", ""},
		{"clusterwide", "{metadata: {}, spec: {services: [{name: web, namespace: b}], resources: [" + listener + ", address: {}}]}}", ""},
		{"generated", "{metadata: {namespace: a, labels: {cec.waggle.io/generated-for: Gateway}}, spec: {resources: [{}]}}", ""},
		{"no type", "{metadata: {namespace: a}, spec: {resources: [{name: l}]}}", "@type"},
		{"another type", `{metadata: {namespace: a}, spec: {resources: [{"@type": type.googleapis.com/envoy.config.bootstrap.v3.Bootstrap}]}}`, "@type"},
		{"a type that is no text", `{metadata: {namespace: a}, spec: {resources: [{"@type": 5}]}}`, "@type"},
		{"another namespace", "{metadata: {namespace: a}, spec: {services: [{name: web, namespace: b}]}}", "own namespace"},
		{"an address", "{metadata: {namespace: a}, spec: {resources: [" + listener + ", address: {}}]}}", "no address"},
		{"additional addresses", "{metadata: {namespace: a}, spec: {resources: [" + listener + ", additionalAddresses: []}]}}", "no address"},
	} {
		var object map[string]any
		if err := yaml.Unmarshal([]byte(test.object), &object); err != nil {
			t.Fatal(err)
		}
		got := p.judge(t, object, nil)
		if test.want == "" && got != "" || !strings.Contains(got, test.want) {
			t.Errorf("%s: says %q, want %q", test.name, got, test.want)
		}
		if got := p.judge(t, object, object); got != "" {
			t.Errorf("%s, where the spec stays: says %q", test.name, got)
		}
	}
}
