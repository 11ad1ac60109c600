package crd

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	celgo "github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/ext"
	"github.com/google/cel-go/interpreter"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel/model"
	apicel "k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/common"
)

// A prover proves that a value has nothing wrong by one node of a schema and
// those below it. It is for speed: where it finds no proof, the API server's
// own code, some ten times slower, is asked what is wrong, if anything is. So
// a prover may be stricter than that code, and must not be laxer, and may
// leave alone what is rare.
type prover struct {
	schema     *structuralschema.Structural
	limits     structuralschema.ValueValidation
	unprovable bool // the node says something that is not understood here
	pattern    *regexp.Regexp
	properties map[string]*prover
	items      *prover
	additional *prover

	compiled sync.Once
	rules    celgo.Program // true where the node's own rules are kept
	unsound  error         // of compile
	cel      *celSchema
}

func newProver(s *structuralschema.Structural) *prover {
	p := &prover{schema: s, cel: &celSchema{Structural: &model.Structural{Structural: s}}}
	if v := s.ValueValidation; v != nil {
		p.limits = *v
	}
	v := &p.limits
	p.unprovable = len(v.AllOf)+len(v.AnyOf)+len(v.OneOf) > 0 || v.Not != nil || v.UniqueItems || v.MultipleOf != nil ||
		v.ExclusiveMinimum || v.ExclusiveMaximum || v.MinProperties != nil || s.XEmbeddedResource || s.XIntOrString ||
		v.Format != "" && v.Format != "int32" && v.Format != "int64"
	if v.Pattern != "" {
		p.pattern = regexp.MustCompile(v.Pattern)
	}
	if s.Items != nil {
		p.items = newProver(s.Items)
		p.cel.items = p.items.cel
	}
	if s.AdditionalProperties != nil && s.AdditionalProperties.Structural != nil {
		p.additional = newProver(s.AdditionalProperties.Structural)
	}
	if len(s.Properties) > 0 {
		p.properties, p.cel.properties = map[string]*prover{}, map[string]common.Schema{}
	}
	for name, property := range s.Properties {
		child := newProver(&property)
		p.properties[name], p.cel.properties[name] = child, child.cel
	}
	return p
}

// proves tells whether x is surely right.
func (p *prover) proves(x any) bool {
	if p.unprovable {
		return false
	}
	var right bool
	switch x := x.(type) {
	case string:
		right = p.schema.Type == "string" && p.text(x)
	case bool:
		right = p.schema.Type == "boolean" && p.among(x)
	case int64:
		right = (p.schema.Type == "integer" || p.schema.Type == "number") && p.number(float64(x))
	case float64:
		right = p.schema.Type == "number" && p.number(x)
	case []any:
		right = p.schema.Type == "array" && p.list(x)
	case map[string]any:
		right = p.schema.Type == "object" && p.object(x)
	}
	return right && p.obeys(x)
}

func (p *prover) text(s string) bool {
	v := &p.limits
	if v.MinLength != nil || v.MaxLength != nil {
		n := int64(utf8.RuneCountInString(s))
		if v.MinLength != nil && n < *v.MinLength || v.MaxLength != nil && n > *v.MaxLength {
			return false
		}
	}
	return p.among(s) && (p.pattern == nil || p.pattern.MatchString(s))
}

func (p *prover) number(f float64) bool {
	v := &p.limits
	if v.Minimum != nil && f < *v.Minimum || v.Maximum != nil && f > *v.Maximum {
		return false
	}
	if v.Format == "int32" && (f < math.MinInt32 || f > math.MaxInt32) {
		return false
	}
	return len(v.Enum) == 0 || slices.ContainsFunc(v.Enum, func(e structuralschema.JSON) bool {
		i, ok := e.Object.(int64)
		return e.Object == f || ok && float64(i) == f
	})
}

func (p *prover) among(x any) bool {
	if len(p.limits.Enum) == 0 {
		return true
	}
	return slices.ContainsFunc(p.limits.Enum, func(e structuralschema.JSON) bool { return e.Object == x })
}

func (p *prover) list(list []any) bool {
	v := &p.limits
	n := int64(len(list))
	if v.MinItems != nil && n < *v.MinItems || v.MaxItems != nil && n > *v.MaxItems || len(v.Enum) > 0 {
		return false
	}
	if !p.distinct(list) || p.items == nil && n > 0 {
		return false
	}
	for _, item := range list {
		if !p.items.proves(item) {
			return false
		}
	}
	return true
}

// distinct tells whether a list that is a set or a map is one.
func (p *prover) distinct(list []any) bool {
	if p.schema.XListType == nil || *p.schema.XListType == "atomic" || len(list) < 2 {
		return true
	}
	seen := make(map[string]struct{}, len(list))
	for _, item := range list {
		key, ok := scalarKey(item)
		if *p.schema.XListType == "map" {
			key, ok = p.entryKey(item)
		}
		if _, twice := seen[key]; twice || !ok {
			return false
		}
		seen[key] = struct{}{}
	}
	return true
}

// entryKey joins the keys of an item of a list that is a map.
func (p *prover) entryKey(item any) (string, bool) {
	fields, ok := item.(map[string]any)
	if !ok {
		return "", false
	}
	var all strings.Builder
	for _, name := range p.schema.XListMapKeys {
		key, ok := scalarKey(fields[name])
		if !ok {
			return "", false
		}
		all.WriteString(strconv.Itoa(len(key)) + ":" + key)
	}
	return all.String(), true
}

func scalarKey(x any) (string, bool) {
	switch x := x.(type) {
	case string:
		return x, true
	case int64:
		return strconv.FormatInt(x, 10), true
	}
	return "", false
}

func (p *prover) object(m map[string]any) bool {
	v := &p.limits
	if v.MaxProperties != nil && int64(len(m)) > *v.MaxProperties || len(v.Enum) > 0 {
		return false
	}
	for _, name := range v.Required {
		if _, set := m[name]; !set {
			return false
		}
	}
	if p.properties == nil && p.additional == nil {
		return true // any object: the metadata, which is checked elsewhere
	}
	for name, value := range m {
		child := p.properties[name]
		if child == nil {
			child = p.additional
		}
		if child == nil || !child.proves(value) {
			return false
		}
	}
	return true
}

// obeys tells whether x keeps the CEL rules of p's own node.
func (p *prover) obeys(x any) bool {
	if len(p.schema.XValidations) == 0 {
		return true
	}
	p.compiled.Do(func() { p.unsound = p.compile() })
	if p.unsound != nil {
		return false
	}
	result, _, err := p.rules.Eval(&self{value: valueOf(x, p.cel)})
	return err == nil && result == types.True
}

// compile makes one program of the rules. It does not count what it costs, as
// those of the API server do: limits have been checked before, and the rules
// come with the binary. Rules on what the object was before are left out.
func (p *prover) compile() error {
	all := []string{"true"}
	for _, rule := range p.schema.XValidations {
		if !strings.Contains(rule.Rule, "oldSelf") {
			all = append(all, "("+rule.Rule+")")
		}
	}
	env, err := p.environment()
	if err != nil {
		return fmt.Errorf("declare type of self: %w", err)
	}
	ast, issues := env.Compile(strings.Join(all, " && "))
	if issues.Err() != nil {
		return issues.Err()
	}
	p.rules, err = env.Program(ast, celgo.EvalOptions(celgo.OptOptimize))
	return err
}

// environment is the part of the API server's that rules make use of, with
// the type of the node as self.
func (p *prover) environment() (*celgo.Env, error) {
	env, err := celgo.NewEnv(celgo.DefaultUTCTimeZone(true), celgo.CrossTypeNumericComparisons(true), ext.Strings(ext.StringsVersion(2)))
	if err != nil {
		return nil, err
	}
	self := model.SchemaDeclType(p.schema, false).MaybeAssignTypeName("selfType")
	options, err := apicel.NewDeclTypeProvider(self).EnvOptions(env.CELTypeProvider())
	if err != nil {
		return nil, err
	}
	return env.Extend(append(options, celgo.Variable("self", self.CelType()))...)
}

// self gives a rule its only variable.
type self struct{ value any }

func (s *self) ResolveName(name string) (any, bool) { return s.value, name == "self" }
func (s *self) Parent() interpreter.Activation      { return nil }

// celSchema is a schema as CEL values ask it, many times for each field; the
// embedded one makes its properties anew at every call.
type celSchema struct {
	*model.Structural
	properties map[string]common.Schema
	items      common.Schema
}

func (s *celSchema) Properties() map[string]common.Schema { return s.properties }
func (s *celSchema) Items() common.Schema                 { return s.items }
