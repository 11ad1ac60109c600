package manifest

import (
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// path is a place in an object while it is walked: the last step and the way
// to it. nil is the object itself.
type path struct {
	parent *path
	name   string
	index  int // where name is empty
}

func (p *path) field(name string) *path { return &path{parent: p, name: name} }
func (p *path) item(i int) *path        { return &path{parent: p, index: i} }

// String gives the path as Kubernetes writes it: "spec.rules[0].name",
// "data[tls.crt]".
func (p *path) String() string {
	var steps []*path
	for ; p != nil; p = p.parent {
		steps = append(steps, p)
	}
	var b strings.Builder
	for i := len(steps) - 1; i >= 0; i-- {
		s := steps[i]
		switch {
		case s.name == "":
			b.WriteString("[" + strconv.Itoa(s.index) + "]")
		case strings.ContainsAny(s.name, "./[]"):
			b.WriteString("[" + clip(s.name, maxQuoted) + "]")
		default:
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			b.WriteString(clip(s.name, maxQuoted))
		}
	}
	return b.String()
}

// maxQuoted bounds a name or value from a file in a message, in bytes.
const maxQuoted = 80

// lineOf finds the line of a field, or of the deepest part of its path that
// is there.
func lineOf(object *yaml.Node, field string) int {
	node, line := target(object), object.Line
	for field != "" && node != nil {
		var step string
		step, field = nextStep(field)
		var key *yaml.Node
		switch node.Kind {
		case yaml.MappingNode:
			key, node = entry(node, step)
		case yaml.SequenceNode:
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(node.Content) {
				return line
			}
			key, node = node.Content[i], target(node.Content[i])
		default:
			return line
		}
		if key != nil {
			line = key.Line
		}
	}
	return line
}

// nextStep splits "a.b[0]" into "a" and "b[0]", and "[a.b].c" into "a.b" and
// "c".
func nextStep(field string) (step, rest string) {
	if strings.HasPrefix(field, "[") {
		step, rest, _ = strings.Cut(field[1:], "]")
		return step, strings.TrimPrefix(rest, ".")
	}
	i := strings.IndexAny(field, ".[")
	if i < 0 {
		return field, ""
	}
	return field[:i], strings.TrimPrefix(field[i:], ".")
}

// entry finds the first entry of a mapping with the given key.
func entry(mapping *yaml.Node, name string) (key, value *yaml.Node) {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if target(mapping.Content[i]).Value == name {
			return mapping.Content[i], target(mapping.Content[i+1])
		}
	}
	return nil, nil
}

// target follows an alias.
func target(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode && n.Alias != nil {
		n = n.Alias
	}
	return n
}
