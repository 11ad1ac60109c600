package agent

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/golden"
	"github.com/waggle-mesh/waggle/internal/model"
)

// TestNodeScripts runs the scripts in testdata/nodescript over the node's graph
// and a world that is played: kernel and API server, which gives identities,
// shows what was written to it, and refuses a frontend whose set is not there.
// Each script runs as it stands, with what a line adds or removes in reverse,
// and with a world that fails one time in ten. The commands:
//
//	add FILE...     put objects (*.yaml) or pods' links (*.links) in, in this order
//	remove FILE...  take them out
//	world           print what kernel and API server have
//	empty           demand that nothing is left
func TestNodeScripts(t *testing.T) {
	for _, way := range []way{{name: "in order"}, {name: "in reverse", reverse: true}, {name: "with failures", failures: 10}} {
		t.Run(way.name, func(t *testing.T) {
			testscript.Run(t, testscript.Params{
				Dir:           filepath.Join("testdata", "nodescript"),
				UpdateScripts: *golden.Update && way.name == "in order",
				Setup: func(env *testscript.Env) error {
					env.Values["script"] = newNodeScript(t, way)
					return nil
				},
				Cmds: map[string]func(*testscript.TestScript, bool, []string){
					"add": nodeCommand((*nodeScript).add), "remove": nodeCommand((*nodeScript).remove),
					"world": nodeCommand((*nodeScript).print), "empty": nodeCommand((*nodeScript).empty),
				},
			})
		})
	}
}

func nodeCommand(f func(*nodeScript, *testscript.TestScript, []string) error) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg {
			ts.Fatalf("these commands cannot be expected to fail")
		}
		ts.Check(f(ts.Value("script").(*nodeScript), ts, args))
	}
}

// way is how a script is run.
type way struct {
	name     string
	reverse  bool
	failures int // one in so many; 0: none
}

// nodeScript is one run of a script.
type nodeScript struct {
	*ground
	way    way
	random *rand.Rand
	world  world
	last   model.Identity // that was given
}

// world is what outputs have made.
type world struct {
	sets        *sink[model.BackendSet]
	frontends   *sink[model.Frontend]
	identities  *sink[model.IPIdentity]
	endpoints   *sink[model.PodEndpoint]
	routes      *sink[model.NodeRoute]
	requests    *sink[IdentityRequest]
	objects     *sink[EndpointObject]
	annotations *sink[NodeAnnotations]
}

// sink is one output and what is still to be done.
type sink[T flow.Row] struct {
	made   map[string]T
	todo   map[string]flow.Change[T]
	update func(T) error
	delete func(T) error
}

func newSink[T flow.Row](t *flow.Table[T], update, remove func(T) error) *sink[T] {
	s := &sink[T]{map[string]T{}, map[string]flow.Change[T]{}, update, remove}
	t.OnChange(func(all []flow.Change[T]) {
		for _, c := range all {
			s.todo[c.Key] = c
		}
	})
	return s
}

// pass tries once what is to be done; true: something was.
func (s *sink[T]) pass(fails func() error) (tried bool) {
	for _, key := range slices.Sorted(maps.Keys(s.todo)) {
		tried = true
		c, err := s.todo[key], fails()
		made, was := s.made[key]
		switch {
		case err != nil:
		case c.HasNew && s.update != nil:
			err = s.update(c.New)
		case !c.HasNew && was && s.delete != nil:
			err = s.delete(made)
		}
		if err != nil {
			continue
		}
		delete(s.todo, key)
		if s.made[key] = c.New; !c.HasNew {
			delete(s.made, key)
		}
	}
	return tried
}

func (s *sink[T]) all() (out []T) {
	for _, key := range slices.Sorted(maps.Keys(s.made)) {
		out = append(out, s.made[key])
	}
	return out
}

func newNodeScript(t *testing.T, way way) *nodeScript {
	s := &nodeScript{ground: newGround(t), way: way, random: rand.New(rand.NewPCG(1, 1)), last: 1000}
	n := s.node
	s.world = world{
		sets:        newSink(n.BackendSets, nil, nil),
		frontends:   newSink(n.Frontends, s.frontend, nil),
		identities:  newSink(n.IPIdentities, nil, nil),
		endpoints:   newSink(n.PodEndpoints, s.endpoint, nil),
		routes:      newSink(n.Routes, nil, nil),
		requests:    newSink(n.Requests, s.request, nil),
		objects:     newSink(n.EndpointObjects, s.object, s.forget),
		annotations: newSink(n.Annotations, s.annotate, nil),
	}
	return s
}

// frontend is refused before its sets are there, as by the maps.
func (s *nodeScript) frontend(f model.Frontend) error {
	for _, set := range []string{f.Internal, f.External} {
		if _, ok := s.world.sets.made[set]; set != "" && !ok {
			return fmt.Errorf("frontend %s: no set %s", f.Address, set)
		}
	}
	return nil
}

// endpoint is refused while its address is another's. It never begins again
// while its pod is there.
func (s *nodeScript) endpoint(e model.PodEndpoint) error {
	pod, ok := s.in.Pods.Get(e.Pod.String())
	if was := s.world.endpoints.made[e.Key()].Identity; was >= model.FirstPodIdentity && e.Identity == model.IdentityInit && ok && slices.Contains(uidsOf(pod.Value), e.UID) {
		s.t.Errorf("endpoint %d of %s had identity %d and has none", e.ID, e.Pod, was)
	}
	for key, other := range s.world.endpoints.made {
		for _, a := range e.Addresses {
			if key != e.Key() && slices.Contains(other.Addresses, a) {
				return fmt.Errorf("endpoint %d: %s is that of %d", e.ID, a, other.ID)
			}
		}
	}
	return nil
}

// request makes an identity, as agents do together.
func (s *nodeScript) request(r IdentityRequest) error {
	s.last++
	name := model.Name{Name: strconv.Itoa(int(s.last))}
	s.in.Identities.Set(model.Object[*ciliumv2.CiliumIdentity]{Name: name, Version: "1", Value: &ciliumv2.CiliumIdentity{SecurityLabels: r.Labels}})
	return nil
}

// object shows the agent what it has written.
func (s *nodeScript) object(o EndpointObject) error {
	s.in.Endpoints.Set(model.Object[*ciliumv2.CiliumEndpoint]{Name: o.Name, Version: fmt.Sprint(s.random.Uint64()),
		Value: &ciliumv2.CiliumEndpoint{ObjectMeta: metav1.ObjectMeta{Namespace: o.Name.Namespace, Name: o.Name.Name,
			OwnerReferences: []metav1.OwnerReference{{UID: types.UID(o.PodUID)}}}, Status: o.Status}})
	return nil
}

func (s *nodeScript) forget(o EndpointObject) error {
	s.in.Endpoints.Delete(o.Name.String())
	return nil
}

// annotate changes the node's object.
func (s *nodeScript) annotate(a NodeAnnotations) error {
	o, ok := s.in.Nodes.Get(a.Node)
	if !ok {
		return nil
	}
	o.Value = o.Value.DeepCopy()
	o.Version = fmt.Sprint(s.random.Uint64())
	if o.Value.Annotations == nil {
		o.Value.Annotations = map[string]string{}
	}
	for name, v := range a.Values {
		if delete(o.Value.Annotations, name); v != nil {
			o.Value.Annotations[name] = *v
		}
	}
	s.in.Nodes.Set(o)
	return nil
}

// fails is the failure of an output, if it is its turn.
func (s *nodeScript) fails() error {
	if s.way.failures > 0 && s.random.IntN(s.way.failures) == 0 {
		return errors.New("one in ten")
	}
	return nil
}

// settle goes on until nothing is to be done any more.
func (s *nodeScript) settle() error {
	for range 1000 {
		if err := s.graph.Commit(); err != nil {
			return err
		}
		w, busy := s.world, false
		// Frontends first: their sets are missing then.
		for _, pass := range []func(func() error) bool{w.frontends.pass, w.sets.pass, w.identities.pass, w.endpoints.pass,
			w.routes.pass, w.requests.pass, w.objects.pass, w.annotations.pass} {
			busy = pass(s.fails) || busy
		}
		if !busy {
			return nil
		}
	}
	return errors.New("it never settles")
}

func (s *nodeScript) each(ts *testscript.TestScript, files []string, do func(action) func(*ground)) error {
	var actions []action
	for _, name := range files {
		text := ts.ReadFile(name)
		if strings.HasSuffix(name, ".links") {
			actions = append(actions, linkActions(s.t, text)...)
		} else {
			actions = append(actions, objectActions(s.t, text)...)
		}
	}
	if s.way.reverse {
		slices.Reverse(actions)
	}
	for _, a := range actions {
		do(a)(s.ground)
		if err := s.settle(); err != nil {
			return err
		}
	}
	return nil
}

func (s *nodeScript) add(ts *testscript.TestScript, files []string) error {
	return s.each(ts, files, func(a action) func(*ground) { return a.put })
}

func (s *nodeScript) remove(ts *testscript.TestScript, files []string) error {
	return s.each(ts, files, func(a action) func(*ground) { return a.remove })
}

// made is what the world has. Numbers of identities differ with the order in
// which they were asked for: they are replaced by what they stand for.
func (s *nodeScript) made() string {
	w := s.world
	text := rows{frontends: w.frontends.all(), sets: w.sets.all(), unsupported: s.node.Unsupported.All(), endpoints: w.endpoints.all(),
		objects: w.objects.all(), identities: w.identities.all(), routes: w.routes.all()}.String()
	for _, o := range s.in.Identities.All() {
		var said []string
		for k, v := range o.Value.SecurityLabels {
			if !strings.Contains(k, "io.") {
				said = append(said, strings.TrimPrefix(k, "k8s:")+"="+v)
			}
			if team, ok := strings.CutPrefix(k, "k8s:io.cilium.k8s.namespace.labels."); ok {
				said = append(said, "namespace "+team+"="+v)
			}
		}
		slices.Sort(said)
		text = strings.ReplaceAll(text, "identity "+o.Name.Name, "identity of "+strings.Join(said, ", "))
	}
	return text
}

func (s *nodeScript) print(ts *testscript.TestScript, _ []string) error {
	fmt.Fprint(ts.Stdout(), s.made())
	return nil
}

func (s *nodeScript) empty(*testscript.TestScript, []string) error {
	if left := s.made(); left != "" {
		return fmt.Errorf("left:\n%s", left)
	}
	return nil
}
