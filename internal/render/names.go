package render

import (
	"strconv"
	"strings"

	"github.com/waggle-mesh/waggle/internal/model"
)

// All names that Envoy resources refer to each other by are made here, and
// nowhere taken apart again. Where a model key is unique among resources of
// one type it is the name.

// xdsCluster is the bootstrap's cluster that leads to the control plane.
const xdsCluster = "xds"

// adminCluster leads to Envoy's administration. Its name is Cilium's: users'
// objects have it.
const adminCluster = "/envoy-admin"

// noBackend is a cluster that never exists: keys of Backends hold a '|'.
const noBackend = "no-backend"

// scopeAuthority stands where an xdstp URL has its authority. Envoy only
// compares it.
const scopeAuthority = "waggle"

// clusterName is the name of a Backend's cluster.
func clusterName(b model.Backend) string { return b.Key() }

// assignmentName is the name by which clusters ask for the endpoints behind a
// port of a Service: the one that CiliumEnvoyConfigs use.
func assignmentName(service model.Name, port uint16) string {
	return service.String() + ":" + strconv.Itoa(int(port))
}

// secretName is the name of a Certificate's secret.
func secretName(secret model.Name) string { return secret.String() }

// unrouted is the name of the route that answers where no rule matches.
const unrouted = "unrouted"

// routeName is what access logs call a route: the rule it came from. Several
// routes have the same name if they came from the same rule, and none has no
// name: see scopewildcard.lua.
func routeName(o model.Origin) string {
	return model.Join(o.Object.Kind, o.Object.Namespace, o.Object.Name.Name, strconv.Itoa(o.Rule))
}

// chainName is the name of a filter chain within its listener. Envoy drains
// the connections of a chain whose name changes.
func chainName(hostname string) string {
	if hostname == "" {
		return "any"
	}
	return hostname
}

// tableName is the name of the RouteConfiguration of a whole route table.
func tableName(table string) string { return table }

// wildcardTableName is the name of the RouteConfiguration that holds the
// wildcard hosts of a scoped table. It is another one than tableName: while a
// listener changes over, its old connections still look into the whole table.
func wildcardTableName(table string) string { return hostTableName(table, "*") }

// hostTableName is the name of the RouteConfiguration of one host of a
// scoped table.
func hostTableName(table, host string) string { return model.Join(table, host) }

// scopeCollection is the URL that a listener subscribes to for the scopes of
// a table: without it every listener would be given the scopes of all.
func scopeCollection(table string) string { return scopePrefix(table) + "*" }

// scopeName is the name of the scope of a host: a member of its table's
// collection.
func scopeName(table, host string) string { return scopePrefix(table) + escaped.Replace(host) }

// wildcardScopeName is the name of the scope of a table's wildcard hosts.
func wildcardScopeName(table string) string { return scopePrefix(table) + "|" }

func scopePrefix(table string) string {
	return "xdstp://" + scopeAuthority + "/" + string(model.ScopedRoute) + "/" + escaped.Replace(table) + "/"
}

// escaped escapes what Envoy does: it takes names apart and compares them as
// it would have written them itself.
var escaped = strings.NewReplacer("%", "%25", "/", "%2F", ":", "%3A", "?", "%3F", "#", "%23", "[", "%5B", "]", "%5D")
