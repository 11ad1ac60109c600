package manifest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/waggle-mesh/waggle/internal/model/spell"
)

// A decoder fills a Go value from a tree. Every field must be known and of
// the right type.
type decoder struct{ problems []fieldProblem }

func (d *decoder) problem(at *path, format string, args ...any) {
	d.problems = append(d.problems, fieldProblem{field: at.String(), message: fmt.Sprintf(format, args...)})
}

var unmarshaler = reflect.TypeFor[json.Unmarshaler]()

// value sets v to what x says. Null leaves v as it is.
func (d *decoder) value(v reflect.Value, x any, at *path) {
	if x == nil {
		return
	}
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		d.value(v.Elem(), x, at)
		return
	}
	if reflect.PointerTo(v.Type()).Implements(unmarshaler) {
		d.custom(v, x, at)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.structure(v, x, at)
	case reflect.Map:
		d.mapping(v, x, at)
	case reflect.Slice:
		d.slice(v, x, at)
	case reflect.Interface:
		v.Set(reflect.ValueOf(x))
	default:
		d.scalar(v, x, at)
	}
}

// custom leaves a type that reads its own JSON to do so: times, quantities,
// numbers that may be names.
func (d *decoder) custom(v reflect.Value, x any, at *path) {
	text, err := json.Marshal(x)
	if err == nil {
		err = v.Addr().Interface().(json.Unmarshaler).UnmarshalJSON(text)
	}
	if err != nil {
		d.problem(at, "is no %s: %s", v.Type().Name(), clip(err.Error(), maxQuoted))
	}
}

func (d *decoder) structure(v reflect.Value, x any, at *path) {
	m, ok := x.(map[string]any)
	if !ok {
		d.problem(at, "must be a mapping, is %s", article(x))
		return
	}
	fields := fieldsOf(v.Type())
	for key, value := range m {
		index, known := fields[key]
		if !known {
			d.unknown(key, fields, at)
			continue
		}
		d.value(v.FieldByIndex(index), value, at.field(key))
	}
}

func (d *decoder) unknown(key string, fields map[string][]int, at *path) {
	near := spell.Nearest(key, slices.Sorted(maps.Keys(fields)))
	if near == "" {
		d.problem(at.field(key), "unknown field")
		return
	}
	d.problem(at.field(key), "unknown field, did you mean %q?", near)
}

func (d *decoder) mapping(v reflect.Value, x any, at *path) {
	m, ok := x.(map[string]any)
	if !ok {
		d.problem(at, "must be a mapping, is %s", article(x))
		return
	}
	v.Set(reflect.MakeMapWithSize(v.Type(), len(m)))
	for key, value := range m {
		elem := reflect.New(v.Type().Elem()).Elem()
		d.value(elem, value, at.field(key))
		v.SetMapIndex(reflect.ValueOf(key).Convert(v.Type().Key()), elem)
	}
}

func (d *decoder) slice(v reflect.Value, x any, at *path) {
	if v.Type().Elem().Kind() == reflect.Uint8 {
		d.bytes(v, x, at)
		return
	}
	list, ok := x.([]any)
	if !ok {
		d.problem(at, "must be a list, is %s", article(x))
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(list), len(list)))
	for i, item := range list {
		if item == nil {
			d.problem(at.item(i), "must not be empty")
			continue
		}
		d.value(v.Index(i), item, at.item(i))
	}
}

func (d *decoder) bytes(v reflect.Value, x any, at *path) {
	text, ok := x.(string)
	if !ok {
		d.problem(at, "must be a string, is %s", article(x))
		return
	}
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		d.problem(at, "must be base64: %v", err)
		return
	}
	v.SetBytes(data)
}

func (d *decoder) scalar(v reflect.Value, x any, at *path) {
	switch v.Kind() {
	case reflect.String:
		if s, ok := x.(string); ok {
			v.SetString(s)
			return
		}
		d.problem(at, "must be a string, is %s; quote it", article(x))
	case reflect.Bool:
		if b, ok := x.(bool); ok {
			v.SetBool(b)
			return
		}
		d.problem(at, "must be true or false, is %s", article(x))
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		i, ok := x.(int64)
		if f, whole := x.(float64); whole && f == float64(int64(f)) {
			i, ok = int64(f), true
		}
		switch {
		case !ok:
			d.problem(at, "must be a whole number, is %s", article(x))
		case v.OverflowInt(i):
			d.problem(at, "is out of range: %d", i)
		default:
			v.SetInt(i)
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		i, ok := x.(int64)
		if f, whole := x.(float64); whole && f == float64(int64(f)) {
			i, ok = int64(f), true
		}
		switch {
		case !ok:
			d.problem(at, "must be a whole number, is %s", article(x))
		case i < 0 || v.OverflowUint(uint64(i)):
			d.problem(at, "is out of range: %d", i)
		default:
			v.SetUint(uint64(i))
		}
	default:
		panic(fmt.Sprintf("manifest: no decoding of %s at %s", v.Type(), at))
	}
}

// article names the type of a value as a user knows it, with its article.
func article(x any) string {
	switch x.(type) {
	case map[string]any:
		return "a mapping"
	case []any:
		return "a list"
	case string:
		return "a string"
	case bool:
		return "a boolean"
	case float64:
		return "a fraction"
	}
	return "a number"
}

var fieldCache sync.Map // reflect.Type to map[string][]int

// fieldsOf gives the fields of a struct by their JSON names, those of inlined
// structs among them.
func fieldsOf(t reflect.Type) map[string][]int {
	if known, ok := fieldCache.Load(t); ok {
		return known.(map[string][]int)
	}
	fields := map[string][]int{}
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name != "" && name != "-" && f.IsExported() {
			fields[name] = f.Index
		}
	}
	fieldCache.Store(t, fields)
	return fields
}
