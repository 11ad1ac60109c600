package render_test

import (
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/waggle-mesh/waggle/internal/model"
)

// message unmarshals a resource.
func message(t testing.TB, r model.Resource) proto.Message {
	t.Helper()
	m, err := anypb.UnmarshalNew(&anypb.Any{TypeUrl: r.Type.TypeURL(), Value: r.Body}, proto.UnmarshalOptions{})
	if err != nil {
		t.Fatalf("unmarshal %s: %v", r.Key(), err)
	}
	return m
}

// validate fails if a resource, or a message packed anywhere inside it,
// breaks a rule that Envoy's own field annotations state.
func validate(t testing.TB, r model.Resource) {
	t.Helper()
	validateMessage(t, r.Key(), message(t, r))
}

func validateMessage(t testing.TB, where string, m proto.Message) {
	t.Helper()
	if v, ok := m.(interface{ ValidateAll() error }); ok {
		if err := v.ValidateAll(); err != nil {
			t.Errorf("%s: %v", where, err)
		}
	}
	var walk func(protoreflect.Message)
	walk = func(m protoreflect.Message) {
		if a, ok := m.Interface().(*anypb.Any); ok {
			inner, err := anypb.UnmarshalNew(a, proto.UnmarshalOptions{Resolver: protoregistry.GlobalTypes})
			if err != nil {
				t.Errorf("%s: %v", where, err)
				return
			}
			validateMessage(t, where+" "+a.TypeUrl, inner)
			return
		}
		m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
			switch {
			case f.IsMap() && f.MapValue().Message() != nil:
				v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool { walk(v.Message()); return true })
			case f.IsList() && f.Message() != nil:
				for i := range v.List().Len() {
					walk(v.List().Get(i).Message())
				}
			case !f.IsMap() && !f.IsList() && f.Message() != nil:
				walk(v.Message())
			}
			return true
		})
	}
	walk(m.ProtoReflect())
}
