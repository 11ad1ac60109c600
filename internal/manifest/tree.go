package manifest

import (
	"cmp"
	"fmt"
	"math"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// maxDepth bounds how deep an object nests. The deepest field of a served
// kind has 16 levels.
const maxDepth = 64

// A treeBuilder makes of a YAML node what JSON would have made: maps, slices,
// strings, int64, float64, bool and nil. Aliases and merge keys are written
// out, within bounds.
type treeBuilder struct {
	problems []fieldProblem
	depth    int
	copied   int // bytes of values that were reached through an alias
	aliases  int // how many aliases are being followed
	overfull bool
}

// fieldProblem is a Problem of one object before its place is known.
type fieldProblem struct {
	field   string
	message string
	line    int // in the document, from 1; 0: to be found by field
	first   int // the line that message speaks of as the first one; 0: none
}

func compareFieldProblems(a, b fieldProblem) int {
	return cmp.Or(cmp.Compare(a.line, b.line), cmp.Compare(a.field, b.field), cmp.Compare(a.message, b.message))
}

func (b *treeBuilder) problem(at *path, n *yaml.Node, format string, args ...any) {
	b.problems = append(b.problems, fieldProblem{field: at.String(), line: n.Line, message: fmt.Sprintf(format, args...)})
}

// value gives the tree of n.
func (b *treeBuilder) value(n *yaml.Node, at *path) any {
	if b.overfull {
		return nil
	}
	if b.depth++; b.depth > maxDepth {
		b.overfull = true
		b.problem(nil, n, "nests deeper than %d levels", maxDepth)
		return nil
	}
	defer func() { b.depth-- }()
	if n.Kind == yaml.AliasNode {
		b.aliases++
		defer func() { b.aliases-- }()
		n = target(n)
	}
	if b.aliases > 0 {
		if b.copied += len(n.Value) + 8; b.copied > maxObject {
			b.overfull = true
			b.problem(nil, n, "aliases make it larger than %d bytes", maxObject)
			return nil
		}
	}
	switch n.Kind {
	case yaml.MappingNode:
		return b.mapping(n, at)
	case yaml.SequenceNode:
		list := make([]any, len(n.Content))
		for i, item := range n.Content {
			list[i] = b.value(item, at.item(i))
		}
		return list
	case yaml.ScalarNode:
		return b.scalar(n, at)
	}
	b.problem(at, n, "is nothing that JSON could hold")
	return nil
}

func (b *treeBuilder) mapping(n *yaml.Node, at *path) map[string]any {
	m := make(map[string]any, len(n.Content)/2)
	var merges []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := target(n.Content[i]), n.Content[i+1]
		switch {
		case key.Kind != yaml.ScalarNode:
			b.problem(at, key, "has a key that is a list or a mapping")
			continue
		case key.Tag == "!!merge":
			merges = append(merges, value)
			continue
		case key.Value == "":
			b.problem(at, key, "has an empty key")
			continue
		}
		field := at.field(key.Value)
		if _, twice := m[key.Value]; twice {
			first, _ := entry(n, key.Value)
			b.problem(field, key, "is set twice")
			b.problems[len(b.problems)-1].first = first.Line
			continue
		}
		m[key.Value] = b.value(value, field)
	}
	for _, merge := range merges {
		b.merge(m, merge, at)
	}
	return m
}

// merge puts the entries of what a merge key (<<) names into m, where m has
// none of that key.
func (b *treeBuilder) merge(m map[string]any, n *yaml.Node, at *path) {
	var sources []any
	switch from := b.value(n, at).(type) {
	case []any:
		sources = from
	default:
		sources = []any{from}
	}
	for _, source := range sources {
		entries, ok := source.(map[string]any)
		if !ok {
			b.problem(at, n, "merges (<<) something that is no mapping")
			return
		}
		for key, value := range entries {
			if _, set := m[key]; !set {
				m[key] = value
			}
		}
	}
}

// yaml11 are the words that kubectl, whose YAML is 1.1, reads as booleans.
var yaml11 = map[string]bool{
	"y": true, "Y": true, "yes": true, "Yes": true, "YES": true, "on": true, "On": true, "ON": true,
	"n": false, "N": false, "no": false, "No": false, "NO": false, "off": false, "Off": false, "OFF": false,
}

func (b *treeBuilder) scalar(n *yaml.Node, at *path) any {
	switch n.Tag {
	case "!!str":
		if n.Style == 0 {
			if word, ok := yaml11[n.Value]; ok {
				return word
			}
		}
		return n.Value
	case "!!timestamp":
		return n.Value // JSON has no such type, so neither has Kubernetes
	case "!!null":
		return nil
	case "!!bool", "!!int", "!!float":
		return b.number(n, at)
	}
	b.problem(at, n, "has the YAML tag %s, which is not understood", clip(n.Tag, maxQuoted))
	return nil
}

// number gives the value of a scalar that is a boolean or a number.
func (b *treeBuilder) number(n *yaml.Node, at *path) any {
	if n.Tag == "!!int" {
		if i, err := strconv.ParseInt(n.Value, 0, 64); err == nil {
			return i
		}
	}
	var v any
	if err := n.Decode(&v); err != nil {
		b.problem(at, n, "is no %s", n.Tag[2:])
		return nil
	}
	switch v := v.(type) {
	case int:
		return int64(v)
	case uint64:
		return float64(v)
	case float64:
		if math.IsInf(v, 0) || math.IsNaN(v) {
			b.problem(at, n, "is no number that JSON could hold")
			return nil
		}
	}
	return v
}
