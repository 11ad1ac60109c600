// Package hostile tests what manifests that are wrong, by mistake or by
// malice, do to the object they are about, and that they do nothing to
// anybody else.
//
// The manifests are in testdata/hostile: each of cases/*/*.yaml has one thing
// wrong with it, and says in comments at its top what is expected of Waggle:
//
//	# want: error 12 HTTPRoute hostile/bad spec.rules[0].mathces unknown field
//	# want: HTTPRoute hostile/bad parent neighbour/gateway Accepted=False UnsupportedValue
//	# want: nothing wrong
//
// Every want must come true, word by word in that order with others between,
// and every error and every object with a bad condition must be wanted.
// Wants that begin with "running:" need an Envoy. Manifests that are wrong by
// their size are made by the tests.
//
// base/neighbour.yaml is loaded with each of them, and must stay as it is.
package hostile
