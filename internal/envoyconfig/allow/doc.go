// Package allow decides what Envoy configuration may reach, by who wrote it,
// and gives names their final form.
//
// It is a list of what is allowed: each message, each of its fields (list.txt).
// Walk goes through a resource with all that stands in its Anys. A test holds
// the list against every linked type, so that what a new version of Envoy
// brings is refused until somebody decides. Where what is allowed depends on
// values (an address, a path), rules.go has a function.
package allow
