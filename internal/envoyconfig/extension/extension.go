// Package extension knows the extensions that the pinned Envoy has: by
// category, their names and the types of their configurations; and which
// fields of Envoy's messages take an extension of which category. Who imports
// it can decode all of them, as it links their Go types.
//
// What it knows is what the binary says of itself, see extensiongen.
package extension

import (
	_ "embed"
	"slices"
	"strings"
	"sync"
)

//go:generate go run ./extensiongen ../../../.tools/envoy .

//go:embed extensions.txt
var extensions string

//go:embed places.txt
var places string

// unsaid are fields whose category stands in no comment of their own.
const unsaid = `
envoy.config.accesslog.v3.AccessLog typed_config envoy.access_loggers
envoy.config.route.v3.RetryPolicy.RetryHostPredicate typed_config envoy.retry_host_predicates
envoy.config.route.v3.RetryPolicy.RetryPriority typed_config envoy.retry_priorities
envoy.config.cluster.v3.Cluster transport_socket envoy.transport_sockets.upstream
envoy.config.route.v3.RouteConfiguration typed_per_filter_config envoy.filters.http
envoy.config.route.v3.VirtualHost typed_per_filter_config envoy.filters.http
envoy.config.route.v3.Route typed_per_filter_config envoy.filters.http
envoy.config.route.v3.WeightedCluster.ClusterWeight typed_per_filter_config envoy.filters.http
`

type known struct {
	categories map[string][]string // of a type
	names      map[string][]string // in a category, sorted
	types      map[string][]string // in a category, sorted
	named      map[string][]string // types by category and name
	places     map[string][]string // categories by message and field
}

var load = sync.OnceValue(func() *known {
	k := &known{categories: map[string][]string{}, names: map[string][]string{}, types: map[string][]string{},
		named: map[string][]string{}, places: map[string][]string{}}
	for line := range strings.Lines(extensions) {
		words := strings.Fields(line)
		category, name := words[0], words[1]
		k.names[category] = append(k.names[category], name)
		for _, t := range words[2:] {
			k.named[category+" "+name] = append(k.named[category+" "+name], t)
			if !slices.Contains(k.types[category], t) {
				k.types[category] = append(k.types[category], t)
				k.categories[t] = append(k.categories[t], category)
			}
		}
	}
	for line := range strings.Lines(places + unsaid) {
		if words := strings.Fields(line); len(words) > 2 {
			k.places[words[0]+" "+words[1]] = words[2:]
		}
	}
	return k
})

// Types are the configurations of the extensions of a category; of all without
// one. They are in order.
func Types(category string) []string {
	if category != "" {
		return load().types[category]
	}
	var all []string
	for t := range load().categories {
		all = append(all, t)
	}
	slices.Sort(all)
	return all
}

// Names are those of the extensions of a category, in order.
func Names(category string) []string { return load().names[category] }

// Named are the types that configure the extension of that name: none where
// there is no such extension, or where it takes no configuration.
func Named(category, name string) []string { return load().named[category+" "+name] }

// Categories are those of the extensions that a type configures.
func Categories(of string) []string { return load().categories[of] }

// Place tells which categories of extensions a field takes, none where that is
// not known. Names are those of the proto: "envoy.config.listener.v3.Filter",
// "typed_config".
func Place(message, field string) []string { return load().places[message+" "+field] }
