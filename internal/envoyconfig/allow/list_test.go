package allow

import (
	"os"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/waggle-mesh/waggle/internal/envoyconfig/extension"
	"github.com/waggle-mesh/waggle/internal/golden"
)

// roots are the resources, and what stands in an Any without being an
// extension of Envoy's: actions of matchers.
var roots = []protoreflect.FullName{
	"envoy.config.listener.v3.Listener",
	"envoy.config.route.v3.RouteConfiguration",
	"envoy.config.cluster.v3.Cluster",
	"envoy.config.endpoint.v3.ClusterLoadAssignment",
	"envoy.extensions.transport_sockets.tls.v3.Secret",
	"envoy.config.route.v3.Route",
	"envoy.config.route.v3.RouteList",
	"envoy.config.rbac.v3.Action",
	"envoy.config.common.matcher.v3.Matcher",
	"envoy.config.route.v3.FilterConfig",
	"envoy.extensions.filters.http.composite.v3.ExecuteFilterAction",
	"envoy.extensions.filters.common.matcher.action.v3.SkipFilter",
	"envoy.extensions.filters.http.rate_limit_quota.v3.RateLimitQuotaBucketSettings",
}

// TestList holds list.txt against the linked types: every message that a
// resource can hold, and every extension of the pinned Envoy, with all fields,
// and no others. What is new is refused until somebody decides.
func TestList(t *testing.T) {
	want := map[protoreflect.FullName]*entry{}
	queue := slices.Clone(roots)
	for _, name := range extension.Types("") {
		queue = append(queue, protoreflect.FullName(name))
	}
	for len(queue) > 0 {
		name := queue[0]
		queue = queue[1:]
		if want[name] != nil || leaf(name) {
			continue
		}
		d, err := protoregistry.GlobalFiles.FindDescriptorByName(name)
		if err != nil {
			t.Fatal(err)
		}
		e := load()[name]
		if e == nil {
			t.Errorf("%s is undecided", name)
			e = &entry{refused: Undecided}
		}
		want[name] = e
		if e.refused.total() {
			continue
		}
		next := &entry{refused: e.refused, fields: map[protoreflect.Name]decision{}}
		want[name] = next
		fields := d.(protoreflect.MessageDescriptor).Fields()
		for i := range fields.Len() {
			f := fields.Get(i)
			decided, ok := e.fields[f.Name()]
			if !ok {
				t.Errorf("%s is undecided", f.FullName())
				decided.refused = Undecided
			}
			next.fields[f.Name()] = decided
			if m := messageOf(f); m != nil && !decided.refused.total() {
				queue = append(queue, m.FullName())
			}
		}
	}
	for name, e := range load() {
		if want[name] == nil {
			t.Errorf("%s stands in no resource", name)
			continue
		}
		for field := range e.fields {
			if _, ok := want[name].fields[field]; !ok {
				t.Errorf("%s has no field %s", name, field)
			}
		}
	}
	if *golden.Update {
		if err := os.WriteFile("list.txt", []byte(print(want)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// messageOf is the type of a field's messages, nil if it has none.
func messageOf(f protoreflect.FieldDescriptor) protoreflect.MessageDescriptor {
	if f.IsMap() {
		return f.MapValue().Message()
	}
	return f.Message()
}

func print(all map[protoreflect.FullName]*entry) string {
	var lines []string
	for name, e := range all {
		line := string(name)
		if e.refused != "" {
			line += "!" + string(e.refused)
		}
		if e.refused.total() {
			lines = append(lines, line+"\n")
			continue
		}
		d, _ := protoregistry.GlobalFiles.FindDescriptorByName(name)
		fields := d.(protoreflect.MessageDescriptor).Fields()
		line += ":"
		for i := range fields.Len() {
			field := fields.Get(i).Name()
			line += " " + string(field)
			if most := e.fields[field].most; most != "" {
				line += "<" + string(most)
			}
			if r := e.fields[field].reference; r != "" {
				line += "@" + string(r)
			}
			if r := e.fields[field].refused; r != "" {
				line += "!" + string(r)
			}
		}
		lines = append(lines, line+"\n")
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}
