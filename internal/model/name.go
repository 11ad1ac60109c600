package model

import "strings"

// Name names an object within its kind. Namespace is empty for objects that
// have none.
type Name struct{ Namespace, Name string }

// String gives "namespace/name", or "name" where there is no namespace.
func (n Name) String() string {
	if n.Namespace == "" {
		return n.Name
	}
	return n.Namespace + "/" + n.Name
}

// NameFrom is the Name of which String gives the text.
func NameFrom(text string) Name {
	namespace, name, namespaced := strings.Cut(text, "/")
	if !namespaced {
		return Name{Name: text}
	}
	return Name{Namespace: namespace, Name: name}
}

// Compare orders names by namespace, then name.
func (n Name) Compare(other Name) int {
	if c := strings.Compare(n.Namespace, other.Namespace); c != 0 {
		return c
	}
	return strings.Compare(n.Name, other.Name)
}

// Ref names an object of any kind, for messages and statuses.
type Ref struct {
	Kind string // "HTTPRoute"
	Name
}

// String gives "Kind namespace/name", or "Kind" where there is no name.
func (r Ref) String() string { return strings.TrimSuffix(r.Kind+" "+r.Name.String(), " ") }

// Key is what Ref is filed under.
func (r Ref) Key() string { return Join(r.Kind, r.Namespace, r.Name.Name) }

// Compare orders references by kind, namespace and name.
func (r Ref) Compare(other Ref) int {
	if c := strings.Compare(r.Kind, other.Kind); c != 0 {
		return c
	}
	return r.Name.Compare(other.Name)
}

// Join makes a key of parts that hold no '|'.
func Join(parts ...string) string { return strings.Join(parts, "|") }

// Object is an input row: one Kubernetes object as a feed read it.
type Object[T any] struct {
	Name Name
	// Version differs whenever Value does: a resourceVersion, or a hash of
	// the manifest. Two rows with equal names and versions are equal.
	Version string
	// Value is shared by all readers. Nobody changes it.
	Value T
}

// Key is the object's name.
func (o Object[T]) Key() string { return o.Name.String() }

// Equal tells whether o and other are the same version of one object.
func (o Object[T]) Equal(other Object[T]) bool {
	return o.Name == other.Name && o.Version == other.Version
}

// String leaves out the value, which may be a Secret.
func (o Object[T]) String() string { return o.Name.String() + " " + o.Version }
