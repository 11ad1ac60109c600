package allow

import (
	"slices"
	"strings"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/anypb"
)

// TestEveryType puts a message of every linked type into an Any that takes
// any, as a tenant would. What has no line in list.txt is refused, and so is
// what its line refuses.
func TestEveryType(t *testing.T) {
	allowed, refused := 0, 0
	protoregistry.GlobalTypes.RangeMessages(func(mt protoreflect.MessageType) bool {
		name := mt.Descriptor().FullName()
		e := load()[name]
		want := opaque(name) || !leaf(name) && (e == nil || e.refused != "" && !Tenant.May(e.refused))
		w := tenant()
		w.Resource(holding(t, mt.New().Interface()))
		if got := len(w.Problems) > 0 && w.Problems[0].At == "metadata.typed_filter_metadata[x]"; got != want {
			t.Errorf("%s: refused %v, want %v: %v", name, got, want, w.Problems)
		}
		if want {
			refused++
		} else {
			allowed++
		}
		return true
	})
	t.Logf("%d types are allowed, %d refused", allowed, refused)
	if allowed < 500 || refused < 400 {
		t.Errorf("%d types are allowed, %d refused: is that all?", allowed, refused)
	}
}

// TestEveryField sets each field that the list refuses to tenants: the walk
// says so, and where.
func TestEveryField(t *testing.T) {
	number := 0
	for name, e := range load() {
		mt, err := protoregistry.GlobalTypes.FindMessageByName(name)
		if err != nil {
			t.Fatal(err)
		}
		if e.refused != "" {
			continue
		}
		for field, d := range e.fields {
			if d.refused == "" {
				continue
			}
			number++
			m := mt.New()
			set(m, mt.Descriptor().Fields().ByName(field))
			w := tenant()
			w.Resource(holding(t, m.Interface()))
			at := "metadata.typed_filter_metadata[x]." + string(field)
			if !slices.ContainsFunc(w.Problems, func(p Problem) bool { return p.At == at && p.Reason == d.refused }) {
				t.Errorf("%s.%s: %v", name, field, w.Problems)
			}
		}
	}
	if number < 50 {
		t.Errorf("only %d fields are refused", number)
	}
}

// TestBounds says in each field with a bound as much as a tenant may, and more.
func TestBounds(t *testing.T) {
	number := 0
	for name, e := range load() {
		for field, d := range e.fields {
			if d.most == "" {
				continue
			}
			number++
			limit, err := d.most.value()
			if err != nil {
				t.Fatal(err)
			}
			for given, want := range map[uint64]int{limit: 0, limit + 1: 1} {
				m := must(protoregistry.GlobalTypes.FindMessageByName(name)).New()
				say(m, m.Descriptor().Fields().ByName(field), given)
				w := tenant()
				w.Resource(holding(t, m.Interface()))
				if len(w.Problems) != want {
					t.Errorf("%s.%s: %d: %v", name, field, given, w.Problems)
				}
			}
		}
	}
	if number < 30 {
		t.Errorf("only %d fields have a bound", number)
	}
}

// say gives a field, or the message in it, a number.
func say(m protoreflect.Message, f protoreflect.FieldDescriptor, n uint64) {
	switch {
	case f.Message() != nil:
		inner := m.Mutable(f).Message()
		say(inner, inner.Descriptor().Fields().ByName("value"), n)
	case f.Kind() == protoreflect.Uint64Kind:
		m.Set(f, protoreflect.ValueOfUint64(n))
	case f.Kind() == protoreflect.Int32Kind:
		m.Set(f, protoreflect.ValueOfInt32(int32(n)))
	default:
		m.Set(f, protoreflect.ValueOfUint32(uint32(n)))
	}
}

// TestReferences: a field that by its name names a cluster, a secret or
// another resource gets its final form.
func TestReferences(t *testing.T) {
	others := []string{ // that name something else
		"envoy.config.trace.v3.ClientConfig.backend_token",
	}
	for name, e := range load() {
		if e.refused.total() {
			continue
		}
		fields := must(protoregistry.GlobalTypes.FindMessageByName(name)).Descriptor().Fields()
		for i := range fields.Len() {
			f := fields.Get(i)
			looks := f.Name() == "cluster" || strings.HasSuffix(string(f.Name()), "_cluster") || f.Name() == "cluster_name" || f.Name() == "clusters" ||
				strings.HasSuffix(string(f.Name()), "config_name") || strings.HasSuffix(string(f.Name()), "listener_name")
			d := e.fields[f.Name()]
			if f.Kind() == protoreflect.StringKind && looks && d.reference == "" && d.refused == "" && !slices.Contains(others, string(f.FullName())) {
				t.Errorf("%s looks like a reference", f.FullName())
			}
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// tenant is a walk that lets every name and address pass.
func tenant() *Walk {
	return &Walk{
		Name:    func(_ Reference, name string) (string, Reason, string) { return name, "", "" },
		Connect: func(string) string { return "" },
	}
}

// holding is a cluster that holds m where anything may stand.
func holding(t *testing.T, m protoreflect.ProtoMessage) *clusterv3.Cluster {
	packed := &anypb.Any{}
	err := anypb.MarshalFrom(packed, m, proto.MarshalOptions{AllowPartial: true})
	if err != nil {
		t.Fatal(err)
	}
	return &clusterv3.Cluster{Metadata: &corev3.Metadata{TypedFilterMetadata: map[string]*anypb.Any{"x": packed}}}
}

// set gives a field some value.
func set(m protoreflect.Message, f protoreflect.FieldDescriptor) {
	switch {
	case f.IsMap():
		m.Mutable(f).Map().Set(protoreflect.ValueOfString("a").MapKey(), m.Mutable(f).Map().NewValue())
	case f.IsList() && f.Message() != nil:
		m.Mutable(f).List().AppendMutable()
	case f.IsList():
		m.Mutable(f).List().Append(some(f))
	case f.Message() != nil:
		m.Mutable(f)
	default:
		m.Set(f, some(f))
	}
}

func some(f protoreflect.FieldDescriptor) protoreflect.Value {
	switch f.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString("a")
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte("a"))
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(1)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(1)
	}
	panic(f.Kind())
}
