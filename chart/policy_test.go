package chart

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/cel-go/cel"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	apiservercel "k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/environment"
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

// compiled is an expression as the API server's compiler takes it.
type compiled struct {
	expression
	result *cel.Type
}

func (c compiled) GetName() string          { return c.Name }
func (c compiled) GetExpression() string    { return c.Expression }
func (c compiled) ReturnTypes() []*cel.Type { return []*cel.Type{c.result} }

// TestPoliciesCompile: the API server takes each expression, with the types that
// it knows a request to have.
func TestPoliciesCompile(t *testing.T) {
	for _, template := range []string{"admission", "envoyconfig", "agent/admission"} {
		p := read(t, "waggle/templates/"+template+".yaml")
		c, err := plugincel.NewCompositedCompiler(environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion()))
		if err != nil {
			t.Fatal(err)
		}
		var given plugincel.OptionalVariableDeclarations
		check := func(e expression, err *apiservercel.Error) {
			if err != nil {
				t.Errorf("%s: %v in\n%s", template, err, e.Expression)
			}
		}
		for _, e := range p.Spec.Variables {
			check(e, c.CompileAndStoreVariable(compiled{e, cel.AnyType}, given, environment.NewExpressions).Error)
		}
		for _, e := range append(p.Spec.MatchConditions, p.Spec.Validations...) {
			check(e, c.CompileCELExpression(compiled{e, cel.BoolType}, given, environment.NewExpressions).Error)
		}
		if len(p.Spec.Validations) == 0 {
			t.Errorf("%s validates nothing", template)
		}
	}
}

// judge gives what the policy says against an object, "" if nothing.
func (p policy) judge(t *testing.T, user string, object, old any) string {
	t.Helper()
	return p.judgeRequest(t, map[string]any{"userInfo": map[string]any{"username": user}}, object, old)
}

func (p policy) judgeRequest(t *testing.T, request map[string]any, object, old any) string {
	t.Helper()
	variables := map[string]any{}
	values := map[string]any{"object": object, "oldObject": old, "variables": variables, "request": request}
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
	env, err := cel.NewEnv(cel.Variable("object", cel.DynType), cel.Variable("oldObject", cel.DynType), cel.Variable("request", cel.DynType), cel.Variable("variables", cel.MapType(cel.StringType, cel.DynType)))
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

// read reads the policy of a template, for the namespace kube-system.
func read(t *testing.T, template string) (p policy) {
	t.Helper()
	text, err := Waggle.ReadFile(template)
	if err != nil {
		t.Fatal(err)
	}
	plain := strings.ReplaceAll(string(text), "{{ .Release.Namespace }}", "kube-system")
	plain = regexp.MustCompile(`\{\{[^}]*\}\}`).ReplaceAllString(plain, "")
	if err := yaml.Unmarshal([]byte(strings.Split(plain, "\n---\n")[0]), &p); err != nil {
		t.Fatal(err)
	}
	return p
}

// TestGeneratedPolicy: nobody but the operator makes an object that passes for
// the operator's, or changes what one says.
func TestGeneratedPolicy(t *testing.T) {
	p := read(t, "waggle/templates/admission.yaml")
	const (
		plain     = "{metadata: {namespace: a}, spec: {resources: [x]}}"
		labelled  = "{metadata: {namespace: a, labels: {app: web}}, spec: {resources: [x]}}"
		generated = "{metadata: {namespace: a, labels: {cec.waggle.io/generated-for: Gateway}}, spec: {resources: [x]}}"
		part      = "{metadata: {namespace: a, labels: {cec.waggle.io/generated-for: Gateway, cec.waggle.io/part-of: gw}}, spec: {resources: [x]}}"
		other     = "{metadata: {namespace: a, labels: {cec.waggle.io/generated-for: Gateway}}, spec: {resources: [y]}}"
		annotated = "{metadata: {namespace: a, annotations: {x: y}, labels: {cec.waggle.io/generated-for: Gateway}}, spec: {resources: [x]}}"
	)
	const operator = "system:serviceaccount:kube-system:cilium-operator"
	for _, test := range []struct{ name, user, object, old, want string }{
		{"made without labels", "tenant", plain, "", ""},
		{"made with labels of others", "tenant", labelled, "", ""},
		{"forged", "tenant", generated, "", "operator's own"},
		{"forged by another's operator", "system:serviceaccount:a:cilium-operator", generated, "", "operator's own"},
		{"turned into one", "tenant", generated, labelled, "operator's own"},
		{"made a part", "tenant", part, generated, "operator's own"},
		{"stripped", "tenant", plain, generated, "operator's own"},
		{"changed", "tenant", other, generated, "the operator's; change the Gateway"},
		{"annotated", "tenant", annotated, generated, ""},
		{"by the operator", operator, generated, "", ""},
		{"changed by the operator", operator, other, generated, ""},
	} {
		if got := p.judge(t, test.user, object(t, test.object), object(t, test.old)); test.want == "" && got != "" || !strings.Contains(got, test.want) {
			t.Errorf("%s: says %q, want %q", test.name, got, test.want)
		}
	}
}

// TestAgentPolicy: an agent writes in the name of its own node alone, if the API
// server knows which that is.
func TestAgentPolicy(t *testing.T) {
	p := read(t, "waggle/templates/agent/admission.yaml")
	const (
		agent     = "system:serviceaccount:kube-system:cilium"
		otherNode = "its own node alone"
		alone     = "but for annotations"
		lease     = "Leases of announcements alone"
		taken     = "takes Leases for its own node"
		n1        = "{metadata: {name: n1, labels: {a: b}}}"
		n2        = "{metadata: {name: n2, labels: {a: b}}}"
		annotated = "{metadata: {name: n1, labels: {a: b}, annotations: {c: d}}}"
		labelled  = "{metadata: {name: n1, labels: {a: b, node-role.kubernetes.io/control-plane: ''}}}"
		bare      = "{metadata: {name: n1}}"
		ready     = "{metadata: {name: n1}, status: {conditions: [{type: Ready, status: 'True'}]}}"
		unready   = "{metadata: {name: n1}, status: {conditions: [{type: Ready, status: 'False'}]}}"
	)
	announced := func(holder string) string {
		return "{metadata: {name: l, labels: {waggle.io/l2-announcement: ''}}, spec: {holderIdentity: '" + holder + "'}}"
	}
	const scheduler = "{metadata: {name: kube-scheduler}, spec: {holderIdentity: n1}}"
	for _, test := range []struct{ name, user, node, resource, object, old, want string }{
		{"its Node", agent, "n1", "nodes", annotated, n1, ""},
		{"its Node without labels", agent, "n1", "nodes", bare, bare, ""},
		{"another Node", agent, "n1", "nodes", n2, n2, otherNode},
		{"its Node's labels", agent, "n1", "nodes", labelled, n1, alone},
		{"its Node's first label", agent, "n1", "nodes", n1, bare, alone},
		{"its Node's last label", agent, "n1", "nodes", bare, n1, alone},
		{"its Node as ready as it was", agent, "n1", "nodes", ready, ready, ""},
		{"its Node less ready", agent, "n1", "nodes", unready, ready, alone},
		{"its Node's first status", agent, "n1", "nodes", ready, bare, alone},
		{"its EnvoyNode made", agent, "n1", "envoynodes", bare, "", ""},
		{"its EnvoyNode", agent, "n1", "envoynodes", n1, bare, ""},
		{"another EnvoyNode made", agent, "n1", "envoynodes", n2, "", otherNode},
		{"another EnvoyNode", agent, "n1", "envoynodes", n2, n2, otherNode},
		{"a Lease made", agent, "n1", "leases", announced("n1"), "", ""},
		{"a Lease renewed", agent, "n1", "leases", announced("n1"), announced("n1"), ""},
		{"a Lease taken over", agent, "n1", "leases", announced("n1"), announced("n2"), ""},
		{"a Lease given up", agent, "n1", "leases", announced(""), announced("n1"), ""},
		{"a Lease deleted", agent, "n1", "leases", "", announced("n2"), ""},
		{"a Lease made for another", agent, "n1", "leases", announced("n2"), "", taken},
		{"a Lease given to another", agent, "n1", "leases", announced("n2"), announced("n1"), taken},
		{"another's Lease given up", agent, "n1", "leases", announced(""), announced("n2"), taken},
		{"a controller's Lease", agent, "n1", "leases", scheduler, scheduler, lease},
		{"a controller's Lease made one of announcements", agent, "n1", "leases", announced("n1"), scheduler, lease},
		{"a controller's Lease deleted", agent, "n1", "leases", "", scheduler, lease},
		{"a controller's Lease made", agent, "n1", "leases", scheduler, "", lease},
		{"an API server that tells no node", agent, "", "nodes", n2, n2, ""},
		{"one that tells none, and a status", agent, "", "nodes", unready, ready, alone},
		{"one that tells none, and a Lease", agent, "", "leases", announced("n1"), announced("n2"), ""},
		{"one that tells none, and a controller's Lease", agent, "", "leases", "", scheduler, lease},
		{"another namespace's", "system:serviceaccount:a:cilium", "n1", "nodes", n2, n2, ""},
		{"a kubelet", "system:node:n2", "", "nodes", n2, n2, ""},
	} {
		user := map[string]any{"username": test.user}
		if test.node != "" {
			user["extra"] = map[string]any{"authentication.kubernetes.io/node-name": []any{test.node}}
		}
		request := map[string]any{"userInfo": user, "resource": map[string]any{"resource": test.resource}}
		if got := p.judgeRequest(t, request, object(t, test.object), object(t, test.old)); test.want == "" && got != "" || !strings.Contains(got, test.want) {
			t.Errorf("%s: says %q, want %q", test.name, got, test.want)
		}
	}
}

func object(t *testing.T, text string) any {
	t.Helper()
	if text == "" {
		return nil
	}
	var out map[string]any
	if err := yaml.Unmarshal([]byte(text), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestEnvoyConfigPolicy: the API server refuses what it can tell, and nothing
// that is right, nor an update that leaves the spec alone.
func TestEnvoyConfigPolicy(t *testing.T) {
	p := read(t, "waggle/templates/envoyconfig.yaml")
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
		got := p.judge(t, "somebody", object, nil)
		if test.want == "" && got != "" || !strings.Contains(got, test.want) {
			t.Errorf("%s: says %q, want %q", test.name, got, test.want)
		}
		if got := p.judge(t, "somebody", object, object); got != "" {
			t.Errorf("%s, where the spec stays: says %q", test.name, got)
		}
	}
}
