package model

import "cmp"

// Condition is one statement about one object, or about one section of it
// (a listener, a parent), for people: the columns of `waggle analyze`.
type Condition struct {
	Object Ref
	// Section is the part spoken of: "listener http", "parent default/gw".
	// Empty for the object as a whole.
	Section string
	Type    string // "Accepted"
	Status  string // "True", "False" or "Unknown"
	Reason  string // "NoMatchingParent"
	Message string
	// Good tells whether the condition is as the user would wish it.
	Good bool
}

// Compare orders conditions by object, section and type.
func (c Condition) Compare(other Condition) int {
	return cmp.Or(c.Object.Compare(other.Object), cmp.Compare(c.Section, other.Section), cmp.Compare(c.Type, other.Type))
}
