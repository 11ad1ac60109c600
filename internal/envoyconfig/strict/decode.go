// Package strict decodes Envoy's messages from JSON and says all that is wrong
// with them at once: unknown fields, wrong types, extensions that the pinned
// Envoy does not have or not in that place; each with its path, what was
// expected, and the nearest known name.
//
// It judges form alone: not which values make sense, not what they reach.
package strict

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/waggle-mesh/waggle/internal/model/spell"
)

// Problem is one thing that is wrong.
type Problem struct {
	At      string // the path: "filter_chains[0].filters[1].name"; empty: the message itself
	Message string // what is wrong and what was expected
}

// Decode reads a message of one of the given types, which its "@type" names.
// Where there are problems there is no message.
func Decode(text []byte, types []string) (proto.Message, []Problem) {
	var tree map[string]any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&tree); err != nil || tree == nil {
		return nil, []Problem{{"", "must be a mapping"}}
	}
	c := &checker{}
	name, ok := c.typeName(tree, "")
	if !ok {
		return nil, c.problems
	}
	if !slices.Contains(types, name) {
		c.say("@type", "%s is no resource that can be given; those are %s%s", clip(name), short(types), suggest(name, types))
		return nil, c.problems
	}
	t, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(name))
	if err != nil {
		panic(err) // types are the caller's
	}
	c.fields(tree, t.Descriptor(), "", nil, 1)
	if len(c.problems) > 0 {
		return nil, c.problems
	}
	m := t.New().Interface()
	delete(tree, "@type")
	if text, err = json.Marshal(tree); err == nil {
		err = protojson.Unmarshal(text, m)
	}
	if err != nil {
		return nil, []Problem{{"", "cannot be read: " + strings.TrimPrefix(err.Error(), "proto: ")}}
	}
	return m, nil
}

// checker gathers problems.
type checker struct{ problems []Problem }

// most bounds how many problems of one message are told.
const most = 10

func (c *checker) say(at, format string, args ...any) {
	if len(c.problems) < most {
		c.problems = append(c.problems, Problem{at, fmt.Sprintf(format, args...)})
	}
}

// deepest is how deep messages may be nested: Envoy reads no deeper.
const deepest = 100

// fields checks the fields of a message. Places are the categories of the
// extension that the message wraps.
func (c *checker) fields(tree map[string]any, d protoreflect.MessageDescriptor, at string, places []string, depth int) {
	if depth > deepest {
		c.say(at, "is nested more than %d messages deep", deepest)
		return
	}
	oneofs := map[protoreflect.FullName]string{}
	seen := map[protoreflect.Name]string{}
	for _, key := range slices.Sorted(maps.Keys(tree)) {
		if key == "@type" {
			continue
		}
		f := d.Fields().ByTextName(key)
		if f == nil {
			f = d.Fields().ByJSONName(key)
		}
		if f == nil {
			c.unknown(key, d, at)
			continue
		}
		if tree[key] == nil && (f.Message() == nil || f.Message().FullName() != "google.protobuf.Value") {
			continue // not set
		}
		here := step(at, key)
		if other := seen[f.Name()]; other != "" {
			c.say(here, "is given twice, as %s too", other)
		}
		seen[f.Name()] = key
		if o := f.ContainingOneof(); o != nil && !o.IsSynthetic() {
			if other := oneofs[o.FullName()]; other != "" {
				c.say(here, "excludes %s; give one of them", other)
			}
			oneofs[o.FullName()] = key
		}
		c.field(tree[key], f, here, placesOf(f, places), depth)
	}
	c.extensionName(tree, d, at, places)
}

func (c *checker) unknown(key string, d protoreflect.MessageDescriptor, at string) {
	var known []string
	for i := range d.Fields().Len() {
		known = append(known, string(d.Fields().Get(i).Name()))
	}
	c.say(step(at, clip(key)), "unknown field of %s%s", d.FullName(), suggest(key, known))
}

// suggest names what was probably meant.
func suggest(name string, known []string) string {
	if near := spell.Nearest(name, known); near != "" {
		return fmt.Sprintf(", did you mean %q?", near)
	}
	return ""
}

func (c *checker) field(x any, f protoreflect.FieldDescriptor, at string, places []string, depth int) {
	switch {
	case f.IsMap():
		m, ok := x.(map[string]any)
		if !ok {
			c.say(at, "must be a mapping, is %s", kindOf(x))
			return
		}
		for _, key := range slices.Sorted(maps.Keys(m)) {
			c.value(m[key], f.MapValue(), at+"["+clip(key)+"]", places, depth)
		}
	case f.IsList():
		list, ok := x.([]any)
		if !ok {
			c.say(at, "must be a list, is %s", kindOf(x))
			return
		}
		for i, item := range list {
			c.value(item, f, fmt.Sprintf("%s[%d]", at, i), places, depth)
		}
	default:
		c.value(x, f, at, places, depth)
	}
}

func step(at, name string) string {
	if at == "" {
		return name
	}
	return at + "." + name
}

// longestQuoted bounds what of a user's text stands in a message, in bytes.
const longestQuoted = 120

func clip(s string) string {
	if len(s) <= longestQuoted {
		return s
	}
	return strings.ToValidUTF8(s[:longestQuoted], "") + "…"
}

// short gives types by their last names.
func short(types []string) string {
	var all []string
	for _, t := range types {
		all = append(all, t[strings.LastIndexByte(t, '.')+1:])
	}
	return strings.Join(all, ", ")
}
