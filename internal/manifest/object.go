package manifest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/waggle-mesh/waggle/internal/model"
)

// object is one object of a document. It does not change.
type object struct {
	binding  *Binding
	ref      model.Ref
	line     int // of the document, from 1
	version  string
	value    metav1.Object // nil if there are problems
	problems []fieldProblem
}

// typeMeta says what an object is.
type typeMeta struct{ apiVersion, kind string }

func (t typeMeta) group() string {
	group, _, ok := strings.Cut(t.apiVersion, "/")
	if !ok {
		return ""
	}
	return group
}

func (t typeMeta) version() string { return t.apiVersion[strings.LastIndexByte(t.apiVersion, '/')+1:] }

// reader fills a document.
type reader struct {
	document *document
	bindings bindings
}

func (r *reader) problem(n *yaml.Node, field, format string, args ...any) {
	r.document.problems = append(r.document.problems, fieldProblem{field: field, line: lineOf(n, field), message: fmt.Sprintf(format, args...)})
}

// object reads n, an object or a list of objects. What n does not say of its
// type is inherited from the list that it stands in.
func (r *reader) object(n *yaml.Node, inherited typeMeta) {
	line := n.Line
	n = target(n)
	if n.Kind != yaml.MappingNode {
		r.document.problems = append(r.document.problems, fieldProblem{line: line, message: "is no object: not a mapping with apiVersion and kind"})
		return
	}
	t, ok := r.typeOf(n, inherited)
	if !ok {
		return
	}
	if items, listed := r.items(n, t); listed {
		r.list(items, t)
		return
	}
	binding := r.bindings.find(t.group(), t.kind)
	if binding == nil {
		if near, ok := r.bindings.misspelt(t.group(), t.kind); ok {
			r.problem(n, "kind", "unknown kind %q, did you mean %q?", t.kind, near)
			return
		}
		r.document.foreign = append(r.document.foreign, foreign{apiVersion: t.apiVersion, kind: t.kind, line: line})
		return
	}
	if versions := binding.kind.versions; !slices.Contains(versions, t.version()) {
		r.problem(n, "apiVersion", "%s is read in version %s, not %q", t.kind, strings.Join(versions, " and "), clip(t.version(), maxQuoted))
		return
	}
	r.typed(n, line, binding)
}

// typeOf reads an object's apiVersion and kind.
func (r *reader) typeOf(n *yaml.Node, inherited typeMeta) (typeMeta, bool) {
	t := inherited
	for _, f := range []struct {
		name  string
		value *string
	}{{"apiVersion", &t.apiVersion}, {"kind", &t.kind}} {
		if key, v := entry(n, f.name); key != nil {
			if v.Kind != yaml.ScalarNode || v.Tag != "!!str" {
				r.problem(n, f.name, "must be a string")
				return t, false
			}
			*f.value = v.Value
		}
	}
	for _, f := range []struct{ name, value string }{{"apiVersion", t.apiVersion}, {"kind", t.kind}} {
		if f.value == "" {
			r.problem(n, f.name, "is missing: every object has an apiVersion and a kind")
			return t, false
		}
	}
	if len(t.apiVersion) > 2*maxQuoted || len(t.kind) > maxQuoted {
		r.problem(n, "kind", "apiVersion and kind are too long to be any")
		return t, false
	}
	return t, true
}

// items gives the objects of a list: of kind List, or of a kind's own list.
func (r *reader) items(n *yaml.Node, t typeMeta) ([]*yaml.Node, bool) {
	if !strings.HasSuffix(t.kind, "List") {
		return nil, false
	}
	key, items := entry(n, "items")
	if key == nil {
		return nil, t == typeMeta{"v1", "List"}
	}
	if items.Kind != yaml.SequenceNode {
		if items.Tag != "!!null" {
			r.problem(n, "items", "must be a list")
		}
		return nil, true
	}
	return items.Content, true
}

func (r *reader) list(items []*yaml.Node, t typeMeta) {
	inherited := typeMeta{}
	if t.kind != "List" {
		inherited = typeMeta{t.apiVersion, strings.TrimSuffix(t.kind, "List")}
	}
	for i, item := range items {
		// A list in a list, by an alias to itself perhaps, is nobody's wish.
		if _, kind := entryOf(item, "kind"); kind != nil && strings.HasSuffix(kind.Value, "List") {
			r.document.problems = append(r.document.problems, fieldProblem{
				field: fmt.Sprintf("items[%d]", i), line: item.Line, message: "is a list in a list"})
			continue
		}
		r.object(item, inherited)
	}
}

func entryOf(n *yaml.Node, name string) (key, value *yaml.Node) {
	if n = target(n); n.Kind != yaml.MappingNode {
		return nil, nil
	}
	return entry(n, name)
}

// typed reads an object of a kind that is served.
func (r *reader) typed(n *yaml.Node, line int, binding *Binding) {
	builder := &treeBuilder{}
	tree, _ := builder.value(n, nil).(map[string]any)
	o := &object{binding: binding, line: line, ref: refOf(tree, binding.kind)}
	r.document.objects = append(r.document.objects, o)
	o.problems = builder.problems
	if !builder.overfull {
		o.decode(tree)
	}
	for i := range o.problems {
		if p := &o.problems[i]; p.line == 0 {
			p.line = lineOf(n, p.field)
		}
		o.problems[i].message = clip(o.problems[i].message, maxMessage)
	}
	if len(o.problems) > 0 {
		o.value = nil
		o.problems = bounded(o.problems)
	}
}

// refOf names an object as well as can be.
func refOf(tree map[string]any, k *kind) model.Ref {
	meta, _ := tree["metadata"].(map[string]any)
	name, _ := meta["name"].(string)
	namespace, _ := meta["namespace"].(string)
	if name == "" {
		return model.Ref{Kind: k.name}
	}
	if namespace == "" && k.namespaced {
		namespace = metav1.NamespaceDefault
	}
	return model.Ref{Kind: k.name, Name: model.Name{Namespace: clip(namespace, maxQuoted), Name: clip(name, maxName)}}
}

// maxName is the longest name of an object.
const maxName = 253

// decode makes o's value of a tree, or finds its problems.
func (o *object) decode(tree map[string]any) {
	k := o.binding.kind
	o.tidy(tree)
	if k.crd != nil {
		k.crd.SetDefaults(tree)
	}
	text, err := json.Marshal(tree)
	if err == nil && len(text) > maxObject {
		err = fmt.Errorf("object of %d bytes: it may have %d", len(text), maxObject)
	}
	if err != nil {
		o.problems = append(o.problems, fieldProblem{message: err.Error()})
		return
	}
	value := k.new()
	d := &decoder{}
	d.value(reflect.ValueOf(value).Elem(), tree, nil)
	o.problems = append(o.problems, d.problems...)
	if len(o.problems) > 0 {
		return
	}
	var errs field.ErrorList
	errs = append(errs, checkMeta(value, k)...)
	if k.crd != nil {
		errs = append(errs, k.crd.Validate(tree)...)
	}
	if k.finish != nil {
		errs = append(errs, k.finish(value)...)
	}
	for _, e := range errs {
		o.problems = append(o.problems, problemOf(e))
	}
	sum := sha256.Sum256(text)
	o.value, o.version = value, hex.EncodeToString(sum[:12])
}

// tidy takes out of a tree what the API server would not take from a user,
// and writes what it would add.
func (o *object) tidy(tree map[string]any) {
	delete(tree, "status")
	tree["apiVersion"] = o.binding.kind.apiVersion()
	tree["kind"] = o.binding.kind.name
	meta, ok := tree["metadata"].(map[string]any)
	if !ok {
		return
	}
	delete(meta, "managedFields")
	if namespace, set := meta["namespace"]; o.binding.kind.namespaced && (!set || namespace == nil || namespace == "") {
		meta["namespace"] = metav1.NamespaceDefault
	}
}

// checkMeta says what is wrong with an object's name, labels and the like.
func checkMeta(value metav1.Object, k *kind) field.ErrorList {
	at := field.NewPath("metadata")
	if value.GetName() == "" {
		return field.ErrorList{field.Required(at.Child("name"), "an object in a file needs one")}
	}
	return validation.ValidateObjectMetaAccessor(value, k.namespaced, k.validName, at)
}

// problemOf takes the field's name out of what is said of it.
func problemOf(e *field.Error) fieldProblem {
	short := *e
	if text, ok := e.BadValue.(string); ok {
		short.BadValue = clip(text, maxQuoted)
	}
	at := e.Field
	if path, message, ok := strings.Cut(strings.TrimPrefix(e.Detail, `"`), `" `); ok && e.Field == noField {
		at, short.Detail, short.BadValue = path, message, field.OmitValueType{}
	}
	short.Detail = strings.TrimPrefix(short.Detail, at+" in body ")
	return fieldProblem{field: at, message: short.ErrorBody()}
}

// noField is what an error without a path has for one, some of which quote
// the path in their text.
var noField = (*field.Path)(nil).String()

// maxProblems bounds what is said of one object.
const maxProblems = 20

// bounded orders problems and leaves out those beyond maxProblems.
func bounded(problems []fieldProblem) []fieldProblem {
	slices.SortFunc(problems, compareFieldProblems)
	problems = slices.CompactFunc(problems, func(a, b fieldProblem) bool { return a == b })
	if more := len(problems) - maxProblems; more > 0 {
		problems = append(problems[:maxProblems:maxProblems], fieldProblem{
			line: problems[maxProblems].line, message: fmt.Sprintf("and %d problems more", more)})
	}
	return problems
}
