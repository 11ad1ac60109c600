package allow

import (
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
)

// Walk goes through a resource. Its zero value with an Author and all
// functions is ready; it may go through several.
type Walk struct {
	Author Author
	// Name gives a name its final form, or says what is wrong with it, and
	// why if it is a matter of who wrote it.
	Name func(r Reference, name string) (final string, why Reason, problem string)
	// Connect says why a Tenant may not have Envoy connect to an address, and
	// nothing if that may be.
	Connect func(address string) (problem string)
	// Visit sees each message before its fields, in the order of the proto's
	// fields; whole: it is a resource, or was in an Any.
	Visit func(m protoreflect.Message, at string, whole bool)
	// Problems are what is wrong, in the order in which it was met.
	Problems []Problem
}

// Problem is something that may not be.
type Problem struct {
	At      string // the field's path in the resource: "filter_chains[0].filters[0].typed_config"
	Reason  Reason // empty: it is no matter of who wrote it
	Message string
}

// Resource goes through one, and changes it: names get their final form, and
// sources of configuration that are left open become the control plane.
func (w *Walk) Resource(m proto.Message) { w.message(m.ProtoReflect(), "", true, false) }

func (w *Walk) say(at string, r Reason, format string, args ...any) {
	w.Problems = append(w.Problems, Problem{at, r, fmt.Sprintf(format, args...)})
}

// refuse says why what, the field itself if it has no name, is refused, if it
// is.
func (w *Walk) refuse(at string, r Reason, what string) bool {
	if r == "" || w.Author.May(r) {
		return false
	}
	text := strings.TrimSpace(what + " is refused: " + reasons[r].text)
	if who := reasons[r].may; who == Administrator {
		text += "; a CiliumClusterwideEnvoyConfig may"
	} else if who == Trusted {
		text += "; with envoyConfig.allowUnsafe a CiliumClusterwideEnvoyConfig may"
	}
	w.say(at, r, "%s", text)
	return true
}

// message goes through m. Inside tells of a resource's parts, where names that
// define resources define nothing.
func (w *Walk) message(m protoreflect.Message, at string, whole, inside bool) {
	name := m.Descriptor().FullName()
	e := load()[name]
	if e == nil {
		if e = (&entry{}); !leaf(name) {
			e.refused = Undecided
		}
	}
	if w.refuse(at, e.refused, string(name)) {
		return
	}
	if w.Visit != nil {
		w.Visit(m, at, whole)
	}
	if rule := rules[name]; rule != nil {
		rule(w, m, at)
	}
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if !m.Has(f) {
			continue
		}
		d, decided := e.fields[f.Name()]
		if !decided && !leaf(name) && !e.refused.total() {
			d.refused = Undecided
		}
		here := step(at, string(f.Name()))
		if w.refuse(here, d.refused, "") {
			continue
		}
		if d.most != "" && w.exceeds(m.Get(f), f, d.most, here) {
			continue
		}
		if inside && d.reference.defines() {
			d.reference = ""
		}
		w.field(m, f, d.reference, here)
	}
}

// exceeds tells whether a number, or a message that holds one, is more than may
// be, and says so.
func (w *Walk) exceeds(v protoreflect.Value, f protoreflect.FieldDescriptor, most bound, at string) bool {
	if f.Message() != nil {
		v = v.Message().Get(f.Message().Fields().ByName("value"))
	}
	limit, _ := most.value() // parse has read it
	given, err := strconv.ParseUint(v.String(), 10, 64)
	return err == nil && given > limit && w.refuse(at, "memory", "more than "+strconv.FormatUint(limit, 10))
}

func step(at, name string) string {
	if at == "" {
		return name
	}
	return at + "." + name
}

// field goes through a field that is allowed.
func (w *Walk) field(m protoreflect.Message, f protoreflect.FieldDescriptor, r Reference, at string) {
	switch {
	case f.IsMap():
		w.mapping(m.Mutable(f).Map(), f, r, at)
	case f.IsList():
		list := m.Mutable(f).List()
		for i := range list.Len() {
			if v, changed := w.value(list.Get(i), f, r, at+"["+strconv.Itoa(i)+"]"); changed {
				list.Set(i, v)
			}
		}
	default:
		if v, changed := w.value(m.Get(f), f, r, at); changed {
			m.Set(f, v)
		}
	}
}

// mapping goes through the values of a map. A reference of a map is its keys.
func (w *Walk) mapping(all protoreflect.Map, f protoreflect.FieldDescriptor, r Reference, at string) {
	for _, key := range sorted(all) {
		here := at + "[" + key.String() + "]"
		v := all.Get(key)
		if next, changed := w.value(v, f.MapValue(), "", here); changed {
			v = next
			all.Set(key, v)
		}
		if r != "" {
			if next := w.rename(r, key.String(), here); next != key.String() {
				all.Clear(key)
				all.Set(protoreflect.ValueOfString(next).MapKey(), v)
			}
		}
	}
}

// value goes through one value, and tells what to put in its place.
func (w *Walk) value(v protoreflect.Value, f protoreflect.FieldDescriptor, r Reference, at string) (protoreflect.Value, bool) {
	switch {
	case f.Message() != nil:
		if packed, ok := v.Message().Interface().(*anypb.Any); ok {
			w.unpack(packed, at)
			return v, false
		}
		w.message(v.Message(), at, false, true)
	case f.Kind() == protoreflect.StringKind:
		w.text(v.String(), at)
		if r != "" && v.String() != "" {
			return protoreflect.ValueOfString(w.rename(r, v.String(), at)), true
		}
	case f.Kind() == protoreflect.BytesKind: // Envoy formats inline_bytes and raw_value, too
		w.text(string(v.Bytes()), at)
	}
	return v, false
}

func (w *Walk) rename(r Reference, name, at string) string {
	final, why, problem := w.Name(r, name)
	if problem != "" {
		w.say(at, why, "%s", problem)
		return name
	}
	return final
}

// unpack goes through what is in an Any and packs it again.
func (w *Walk) unpack(packed *anypb.Any, at string) {
	inner, err := packed.UnmarshalNew()
	if err != nil || opaque(inner.ProtoReflect().Descriptor().FullName()) {
		w.refuse(at, "opaque", packed.GetTypeUrl())
		return
	}
	w.message(inner.ProtoReflect(), at, true, true)
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(inner)
	if err != nil {
		w.say(at, "", "cannot be written: %v", err)
		return
	}
	packed.Value = body
}

// commands are those of Envoy's formats that reach the node.
var commands = []struct {
	text   string
	reason Reason
}{
	{"%ENVIRONMENT(", "environment"},
	{"%FILE_CONTENT(", "file"},
}

// text looks for formats that read more than the request.
func (w *Walk) text(s, at string) {
	for _, c := range commands {
		if strings.Contains(s, c.text) {
			w.refuse(at, c.reason, c.text+"…)%")
		}
	}
}
