package crd

import (
	"strings"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	"k8s.io/apiserver/pkg/cel/common"
)

// valueOf is x as a rule sees it: the API server's own value, but that fields
// are found by their names. Its own code first undoes the escapes of a name,
// with a regular expression at each access; a name without "__" has none.
func valueOf(x any, s *celSchema) ref.Val {
	v := common.UnstructuredToVal(x, s)
	switch x := x.(type) {
	case map[string]any:
		if m, ok := v.(traits.Mapper); ok && s.properties != nil && !s.IsXEmbeddedResource() {
			return &object{Mapper: m, fields: x, schema: s}
		}
	case []any:
		items, _ := s.items.(*celSchema)
		if l, ok := v.(traits.Lister); ok && items != nil {
			return &list{Lister: l, items: x, schema: items}
		}
	}
	return v
}

// object is a mapping with the fields that a schema names.
type object struct {
	traits.Mapper
	fields map[string]any
	schema *celSchema
}

// Find gives the value of a field. One that is null is not there.
func (o *object) Find(key ref.Val) (ref.Val, bool) {
	name, ok := key.(types.String)
	if !ok || strings.Contains(string(name), "__") {
		return o.Mapper.Find(key)
	}
	value := o.fields[string(name)]
	schema, _ := o.schema.properties[string(name)].(*celSchema)
	if value == nil || schema == nil {
		return nil, false
	}
	return valueOf(value, schema), true
}

// Get is Find for a field that must be there.
func (o *object) Get(key ref.Val) ref.Val {
	if value, found := o.Find(key); found {
		return value
	}
	return o.Mapper.Get(key)
}

// Contains tells whether Find finds a field, or is an error.
func (o *object) Contains(key ref.Val) ref.Val {
	value, found := o.Find(key)
	if value != nil && types.IsUnknownOrError(value) {
		return value
	}
	return types.Bool(found)
}

// list is a list with items of one schema.
type list struct {
	traits.Lister
	items  []any
	schema *celSchema // of each
}

// Get gives an item.
func (l *list) Get(index ref.Val) ref.Val {
	if i, ok := index.(types.Int); ok && i >= 0 && int(i) < len(l.items) {
		return valueOf(l.items[i], l.schema)
	}
	return l.Lister.Get(index)
}

// Iterator goes through the items.
func (l *list) Iterator() traits.Iterator {
	return &cursor{Iterator: l.Lister.Iterator(), list: l}
}

// cursor is a place in a list.
type cursor struct {
	traits.Iterator
	list *list
	next int
}

// HasNext tells whether there are items left.
func (c *cursor) HasNext() ref.Val { return types.Bool(c.next < len(c.list.items)) }

// Next gives the next item.
func (c *cursor) Next() ref.Val {
	c.next++
	return valueOf(c.list.items[c.next-1], c.list.schema)
}
