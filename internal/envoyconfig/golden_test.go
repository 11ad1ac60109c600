package envoyconfig

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
	"github.com/waggle-mesh/waggle/internal/golden"
	"github.com/waggle-mesh/waggle/internal/model"
)

// TestGolden parses the objects in each testdata/*.txtar: in.yaml has objects
// and Services, status and envoy are what must come of them.
func TestGolden(t *testing.T) {
	golden.Run(t, "testdata/*.txtar", func(t *testing.T, c *golden.Case) {
		status, envoy := read(t, c.Section("in.yaml")).run(t)
		c.Expect("status", status)
		c.Expect("envoy", envoy)
	})
}

// cluster is what a test's manifest has.
type cluster struct {
	objects  []Object
	services map[model.Name]*corev1.Service
	granted  map[string]bool // "from to-namespace/name"
	unsafe   bool
}

func (c *cluster) world() World {
	return World{
		Service: func(n model.Name) *corev1.Service { return c.services[n] },
		Granted: func(from string, to model.Name) bool { return c.granted[from+" "+to.String()] },
		Owns: func(namespace string, a netip.Addr) bool {
			for n, s := range c.services {
				if n.Namespace == namespace && s.Spec.ClusterIP == a.String() {
					return true
				}
			}
			return false
		},
		AllowUnsafe: c.unsafe,
	}
}

// read takes the objects out of a manifest. An annotation of a Service,
// "granted", names the namespaces that may name it.
func read(t testing.TB, text string) *cluster {
	t.Helper()
	c := &cluster{services: map[model.Name]*corev1.Service{}, granted: map[string]bool{}}
	for _, document := range strings.Split(text, "\n---\n") {
		var head struct {
			Kind string `json:"kind"`
		}
		if err := yaml.Unmarshal([]byte(document), &head); err != nil {
			t.Fatalf("%v in\n%s", err, document)
		}
		switch head.Kind {
		case Namespaced:
			o := &ciliumv2.CiliumEnvoyConfig{}
			parseYAML(t, document, o)
			if o.Namespace == "" {
				o.Namespace = "default"
			}
			c.objects = append(c.objects, Of(o))
		case Clusterwide:
			o := &ciliumv2.CiliumClusterwideEnvoyConfig{}
			parseYAML(t, document, o)
			c.objects = append(c.objects, OfClusterwide(o))
		case "Service":
			s := &corev1.Service{}
			parseYAML(t, document, s)
			if s.Namespace == "" {
				s.Namespace = "default"
			}
			name := model.Name{Namespace: s.Namespace, Name: s.Name}
			c.services[name] = s
			c.granted[s.Annotations["granted"]+" "+name.String()] = true
		default:
			t.Fatalf("kind %q in\n%s", head.Kind, document)
		}
	}
	return c
}

func parseYAML(t testing.TB, text string, into any) {
	t.Helper()
	if err := yaml.UnmarshalStrict([]byte(text), into); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
}

// run gives the conditions of all objects, and what Envoy is told.
func (c *cluster) run(t testing.TB) (status, envoy string) {
	var says, tells strings.Builder
	claims := map[model.Name][]Claim{}
	for _, o := range c.objects {
		parsed := Parse(o, c.world())
		again := Parse(o, c.world())
		for i, r := range parsed.Resources {
			if !r.Equal(again.Resources[i]) {
				t.Errorf("%s of %s is not the same twice", r.Name, o.Ref)
			}
		}
		for _, condition := range parsed.Conditions() {
			if condition.Good && condition.Type == "ResolvedRefs" {
				continue
			}
			fmt.Fprintf(&says, "%s %s=%s %s\n", o.Ref, condition.Type, condition.Status, condition.Reason)
			for _, line := range strings.Split(condition.Message, "; ") {
				fmt.Fprintf(&says, "  %s\n", line)
			}
		}
		tells.WriteString(printParsed(t, parsed))
		for _, claim := range parsed.Claims {
			claims[claim.Service] = append(claims[claim.Service], claim)
		}
	}
	for _, name := range sortedNames(claims) {
		redirects, conflicts := Settle(c.services[name], claims[name])
		for _, r := range redirects {
			fmt.Fprintf(&tells, "redirect %s %v to %q of %s\n", r.Service, r.Ports, r.Listener, r.Owner)
		}
		for _, o := range c.objects {
			if problems := conflicts[o.Ref]; len(problems) > 0 {
				condition := Conflicts(o.Ref, problems)
				fmt.Fprintf(&says, "%s %s=%s %s\n  %s\n", o.Ref, condition.Type, condition.Status, condition.Reason, condition.Message)
			}
		}
	}
	return says.String(), tells.String()
}

func sortedNames(m map[model.Name][]Claim) []model.Name {
	var all []model.Name
	for n := range m {
		all = append(all, n)
	}
	slices.SortFunc(all, model.Name.Compare)
	return all
}

func printParsed(t testing.TB, p Parsed) string {
	var b strings.Builder
	for _, r := range p.Resources {
		source := "the node"
		if r.KeepSource {
			source = "the client"
		}
		fmt.Fprintf(&b, "%s as %s\n%s", r.Type[strings.LastIndexByte(string(r.Type), '.')+1:], source, printMessage(t, r.Type, r.Body))
	}
	for _, f := range p.Fragments {
		fmt.Fprintf(&b, "RouteConfiguration\n%s", printMessage(t, model.RouteConfiguration, f.Body))
	}
	for _, a := range p.Assignments {
		fmt.Fprintf(&b, "endpoints %q are those of %s %q\n", a.Name, a.Service, a.Port)
	}
	return b.String()
}

// printMessage writes a message as YAML, indented.
func printMessage(t testing.TB, kind model.ResourceType, body []byte) string {
	tree := treeOf(t, kind, body)
	leaveOut(tree)
	text, err := yaml.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	return "  " + strings.ReplaceAll(strings.TrimSpace(string(text)), "\n", "\n  ") + "\n"
}

// treeOf is a message as JSON has it.
func treeOf(t testing.TB, kind model.ResourceType, body []byte) (tree any) {
	m, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(kind))
	if err != nil {
		t.Fatal(err)
	}
	value := m.New().Interface()
	if err := proto.Unmarshal(body, value); err != nil {
		t.Fatal(err)
	}
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &tree); err != nil {
		t.Fatal(err)
	}
	return tree
}

// leaveOut drops what is put into every message that has not said otherwise.
func leaveOut(x any) {
	usual := []string{
		`{"ads":{},"initial_fetch_timeout":"5s","resource_api_version":"V3"}`,
		`{"thresholds":[{"max_retries":128}]}`,
	}
	switch x := x.(type) {
	case map[string]any:
		for key, value := range x {
			if text, err := json.Marshal(value); err == nil && slices.Contains(usual, string(text)) {
				delete(x, key)
			}
			leaveOut(value)
		}
	case []any:
		for _, value := range x {
			leaveOut(value)
		}
	}
}
