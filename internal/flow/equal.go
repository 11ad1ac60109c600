package flow

import "reflect"

// Equal compares rows that Go can compare.
func Equal[T comparable](a, b T) bool { return a == b }

// DeepEqual compares rows that hold slices, maps or pointers.
func DeepEqual[T any](a, b T) bool { return reflect.DeepEqual(a, b) }
