package strict

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// value checks one value of a field.
func (c *checker) value(x any, f protoreflect.FieldDescriptor, at string, places []string, depth int) {
	if x == nil && (f.Message() == nil || f.Message().FullName() != "google.protobuf.Value") {
		c.say(at, "must not be empty")
		return
	}
	switch f.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		c.message(x, f.Message(), at, places, depth)
	case protoreflect.EnumKind:
		c.enum(x, f.Enum(), at)
	default:
		c.scalar(x, f.Kind(), at)
	}
}

// scalar checks what is no message and no enum.
func (c *checker) scalar(x any, k protoreflect.Kind, at string) {
	switch k {
	case protoreflect.BoolKind:
		if _, ok := x.(bool); !ok {
			c.say(at, "must be true or false, is %s", kindOf(x))
		}
	case protoreflect.StringKind:
		if _, ok := x.(string); !ok {
			c.say(at, "must be a string, is %s; quote it", kindOf(x))
		}
	case protoreflect.BytesKind:
		c.bytes(x, at)
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		if _, ok := number(x); !ok {
			c.say(at, "must be a number, is %s", kindOf(x))
		}
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		c.whole(x, 0, math.MaxUint32, at)
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		c.whole(x, 0, math.MaxUint64, at)
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		c.whole(x, math.MinInt32, math.MaxInt32, at)
	default:
		c.whole(x, math.MinInt64, math.MaxInt64, at)
	}
}

func (c *checker) bytes(x any, at string) {
	s, ok := x.(string)
	if !ok {
		c.say(at, "must be a string of base64, is %s", kindOf(x))
		return
	}
	s = strings.TrimRight(strings.NewReplacer("-", "+", "_", "/").Replace(s), "=")
	if _, err := base64.RawStdEncoding.DecodeString(s); err != nil {
		c.say(at, "must be base64")
	}
}

// number reads a number, which may be a string that holds one.
func number(x any) (float64, bool) {
	switch x := x.(type) {
	case json.Number:
		n, err := x.Float64()
		return n, err == nil
	case string:
		if x == "NaN" || x == "Infinity" || x == "-Infinity" {
			return 0, true
		}
		n, err := strconv.ParseFloat(x, 64)
		return n, err == nil && strings.TrimSpace(x) == x
	}
	return 0, false
}

func (c *checker) whole(x any, least, greatest float64, at string) {
	n, ok := number(x)
	switch {
	case !ok:
		c.say(at, "must be a whole number, is %s", kindOf(x))
	case n != math.Trunc(n):
		c.say(at, "must be a whole number, is %s", kindOf(x))
	case n < least || n > greatest:
		c.say(at, "must be %.0f to %.0f, is %s", least, greatest, kindOf(x))
	}
}

func (c *checker) enum(x any, d protoreflect.EnumDescriptor, at string) {
	var known []string
	for i := range d.Values().Len() {
		known = append(known, string(d.Values().Get(i).Name()))
	}
	name, ok := x.(string)
	if !ok {
		n, isNumber := number(x)
		if !isNumber || d.Values().ByNumber(protoreflect.EnumNumber(n)) == nil {
			c.say(at, "must be one of %s", strings.Join(known, ", "))
		}
		return
	}
	if d.Values().ByName(protoreflect.Name(name)) == nil {
		c.say(at, "%q is none of %s%s", clip(name), strings.Join(known, ", "), suggest(name, known))
	}
}

// wrapped are the types that stand for a value of their own.
var wrapped = map[protoreflect.FullName]protoreflect.Kind{
	"google.protobuf.BoolValue": protoreflect.BoolKind, "google.protobuf.StringValue": protoreflect.StringKind,
	"google.protobuf.BytesValue": protoreflect.BytesKind, "google.protobuf.DoubleValue": protoreflect.DoubleKind,
	"google.protobuf.FloatValue": protoreflect.FloatKind, "google.protobuf.Int32Value": protoreflect.Int32Kind,
	"google.protobuf.Int64Value": protoreflect.Int64Kind, "google.protobuf.UInt32Value": protoreflect.Uint32Kind,
	"google.protobuf.UInt64Value": protoreflect.Uint64Kind,
}

// message checks a message, some of which are no mappings in JSON.
func (c *checker) message(x any, d protoreflect.MessageDescriptor, at string, places []string, depth int) {
	if kind, ok := wrapped[d.FullName()]; ok {
		c.scalar(x, kind, at)
		return
	}
	tree, isMapping := x.(map[string]any)
	switch d.FullName() {
	case "google.protobuf.Value":
		return
	case "google.protobuf.Duration":
		c.duration(x, at)
		return
	case "google.protobuf.Timestamp":
		if s, ok := x.(string); !ok || !isTime(s) {
			c.say(at, `must be a time: "2026-01-02T03:04:05Z"`)
		}
		return
	case "google.protobuf.ListValue":
		if _, ok := x.([]any); !ok {
			c.say(at, "must be a list, is %s", kindOf(x))
		}
		return
	}
	if !isMapping {
		c.say(at, "must be a mapping, is %s", kindOf(x))
		return
	}
	switch d.FullName() {
	case "google.protobuf.Struct":
	case "google.protobuf.Any":
		c.extension(tree, at, places, depth)
	default:
		c.fields(tree, d, at, places, depth+1)
	}
}

func (c *checker) duration(x any, at string) {
	s, ok := x.(string)
	seconds, hasUnit := strings.CutSuffix(s, "s")
	if n, err := strconv.ParseFloat(seconds, 64); !ok || !hasUnit || err != nil || math.Abs(n) > 315_576_000_000 {
		c.say(at, `must be a duration in seconds: "1.5s"`)
	}
}

func isTime(s string) bool {
	_, err := time.Parse(time.RFC3339Nano, s)
	return err == nil
}

// kindOf names the type of a value as a user knows it, with its article.
func kindOf(x any) string {
	switch x := x.(type) {
	case map[string]any:
		return "a mapping"
	case []any:
		return "a list"
	case string:
		return strconv.Quote(clip(x))
	case bool:
		return strconv.FormatBool(x)
	case json.Number:
		return clip(x.String())
	}
	return "nothing"
}
