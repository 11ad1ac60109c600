package render

import (
	"slices"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/waggle-mesh/waggle/internal/model"
)

// marshal gives the bytes of m, always the same for equal messages. It fails
// for invalid UTF-8 alone, which no row holds: names are checked, and values
// came through YAML or JSON.
func marshal(m proto.Message) []byte {
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		panic(err)
	}
	return body
}

// packed wraps m for an extension point.
func packed(m proto.Message) *anypb.Any {
	return &anypb.Any{
		TypeUrl: "type.googleapis.com/" + string(m.ProtoReflect().Descriptor().FullName()),
		Value:   marshal(m),
	}
}

// extension is m under the name its factory is registered by, which some
// extension points look at instead of the type.
func extension(name string, m proto.Message) *corev3.TypedExtensionConfig {
	return &corev3.TypedExtensionConfig{Name: name, TypedConfig: packed(m)}
}

// resource is m with its name and owners.
func resource(t model.ResourceType, name string, m proto.Message, owners ...model.Ref) model.Resource {
	return model.Resource{ResourceKey: model.ResourceKey{Type: t, Name: name}, Body: marshal(m), Owners: owners}
}

// distinct sorts refs and drops repetitions.
func distinct(refs []model.Ref) []model.Ref {
	slices.SortFunc(refs, model.Ref.Compare)
	return slices.Compact(refs)
}

// fromControlPlane is the source of everything that is not in the bootstrap.
// The bound keeps a resource that never comes from holding up its listener
// or cluster for Envoy's 15 s.
func fromControlPlane() *corev3.ConfigSource {
	return &corev3.ConfigSource{
		ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}},
		ResourceApiVersion:    corev3.ApiVersion_V3,
		InitialFetchTimeout:   durationpb.New(5 * time.Second),
	}
}

func number(n uint32) *wrapperspb.UInt32Value { return wrapperspb.UInt32(n) }

func truth(b bool) *wrapperspb.BoolValue { return wrapperspb.Bool(b) }

func duration(d time.Duration) *durationpb.Duration { return durationpb.New(d) }
