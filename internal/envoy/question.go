package envoy

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
)

// questions are what can be asked without changing anything. Envoy leaves
// private keys, passwords and other secrets out of its configuration.
var questions = map[string]string{
	"config": "/config_dump?include_eds", "clusters": "/clusters", "listeners": "/listeners", "stats": "/stats?usedonly",
}

// Ask gives Envoy's answer as it is: to "config" in JSON, to "clusters",
// "listeners" and "stats" as text. The filter, a regular expression in RE2's
// syntax, chooses stats by their name.
func (a *Admin) Ask(ctx context.Context, what, filter string) ([]byte, error) {
	path, ok := questions[what]
	if !ok {
		return nil, fmt.Errorf("envoy is not asked for %q", what)
	}
	if what == "stats" && filter != "" {
		path += "&filter=" + url.QueryEscape(filter)
	}
	return a.call(ctx, http.MethodGet, path)
}
