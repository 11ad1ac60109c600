package gateway

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waggle-mesh/waggle/internal/golden"
	"github.com/waggle-mesh/waggle/internal/model"
)

// TestGolden translates each testdata/*.txtar: in.yaml gives the objects,
// facts what else is so, model and status what must come of it. However the
// objects are ordered, the same must.
func TestGolden(t *testing.T) {
	golden.Run(t, "testdata/*.txtar", func(t *testing.T, c *golden.Case) {
		in := parse(t, c.Section("in.yaml"))
		var facts testFacts
		facts.read(t, in, c.Section("facts"))
		model, status := facts.run(in)
		checkGenerations(t, in, facts)
		checkKeys(t, translate(in))
		for seed := range uint64(5) {
			random := rand.New(rand.NewPCG(seed, 0))
			m, s := facts.run(in.shuffled(random.Shuffle))
			if m != model || s != status {
				t.Fatalf("in another order:\n%s%s\nwas:\n%s%s", m, s, model, status)
			}
		}
		c.Expect("model", model)
		c.Expect("status", status)
	})
}

// testFacts are what the section facts of a golden says, a fact a line:
//
//	port-offset 10000
//	plain-backends
//	no address
//	address-problem AddressNotUsable the message
//	port-taken 80 the message
//	pending|rejected Type name Kind/namespace/name the message
type testFacts struct {
	GatewayFacts
}

func (f *testFacts) read(t *testing.T, in *objects, text string) {
	f.Addresses = []netip.Addr{testAddress}
	for line := range strings.Lines(text) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		first, message, _ := strings.Cut(rest, " ")
		switch word {
		case "":
		case "port-offset":
			fmt.Sscan(rest, &in.stage.PortOffset)
		case "plain-backends":
			in.stage.IgnoreAppProtocol = true
		case "no":
			f.Addresses = nil
		case "address-problem":
			f.Addresses, f.AddressProblem = nil, Problem{Reason: first, Message: message}
		case "port-taken":
			var port uint16
			fmt.Sscan(first, &port)
			f.PortProblems = map[uint16]string{port: message}
		case "pending", "rejected":
			parts := strings.SplitN(rest, " ", 4)
			owner := strings.Split(parts[2], "/")
			o := model.Outcome{State: model.Pending, Message: parts[3]}
			if word == "rejected" {
				o.State = model.Rejected
			}
			o.Type, o.Name = model.ResourceType(parts[0]), parts[1]
			o.Owners = []model.Ref{{Kind: owner[0], Name: model.Name{Namespace: owner[1], Name: owner[2]}}}
			f.Outcomes = append(f.Outcomes, o)
		default:
			t.Fatalf("fact %q", line)
		}
	}
}

// run gives the sections model and status.
func (f *testFacts) run(in *objects) (string, string) {
	x := translate(in)
	return x.model(), x.status(in, f.GatewayFacts, f.Outcomes)
}

// checkGenerations wants every condition to carry its object's generation,
// and to leave the time to the writer.
func checkGenerations(t *testing.T, in *objects, facts testFacts) {
	t.Helper()
	x := translate(in)
	var all []metav1.Condition
	for _, c := range in.classes {
		all = append(all, in.stage.ClassStatus(in.stage.Class(in, c), anyField).Conditions...)
	}
	for _, g := range x.gateways {
		status := GatewayStatus(g, facts.GatewayFacts)
		all = append(all, status.Conditions...)
		for _, l := range status.Listeners {
			all = append(all, l.Conditions...)
		}
	}
	for _, r := range x.routes {
		for _, p := range in.stage.RouteStatus(r, facts.Outcomes).Parents {
			if p.ControllerName != testController {
				t.Errorf("controller %s", p.ControllerName)
			}
			all = append(all, p.Conditions...)
		}
	}
	for _, c := range all {
		if c.ObservedGeneration != 3 || !c.LastTransitionTime.IsZero() || c.Reason == "" || c.Message == "" {
			t.Errorf("condition %+v", c)
		}
	}
}

// checkKeys wants no two rows of a table to have one key, and what rows refer
// to by key to be there.
func checkKeys(t *testing.T, x translated) {
	t.Helper()
	attachments, backends, secrets := map[string]bool{}, map[model.Backend]bool{}, map[model.Name]bool{}
	add := func(list []Attachment) {
		for _, a := range list {
			if attachments[a.Key()] {
				t.Errorf("two attachments %s", a.Key())
			}
			attachments[a.Key()] = true
		}
	}
	for _, g := range x.gateways {
		add(g.Attachments())
		for _, secret := range g.Certificates() {
			secrets[secret] = true
		}
	}
	for _, r := range x.routes {
		add(r.Attachments)
		for _, b := range r.Backends {
			backends[b] = true
		}
	}
	used, tables := map[model.Backend]bool{}, map[string]bool{}
	for _, v := range x.hosts {
		tables[v.Table] = true
		for _, route := range v.Routes {
			if route.Forward == nil {
				continue
			}
			for _, b := range route.Forward.Backends {
				used[b.Backend] = !b.Backend.IsZero()
			}
			for _, m := range route.Forward.Mirrors {
				used[m.Backend] = true
			}
		}
	}
	delete(used, model.Backend{})
	if !maps.Equal(used, backends) {
		t.Errorf("routes use %v, and name %v", used, backends)
	}
	for _, l := range x.listeners {
		for _, c := range l.Chains {
			if !tables[c.Table] {
				t.Errorf("listener %s has no table %s", l.Key(), c.Table)
			}
			for _, secret := range c.Certificates {
				if !secrets[secret] {
					t.Errorf("listener %s presents %s, which the Gateway does not name", l.Key(), secret)
				}
			}
		}
	}
}
