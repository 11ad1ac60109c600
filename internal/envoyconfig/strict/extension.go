package strict

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/waggle-mesh/waggle/internal/envoyconfig/extension"
	"github.com/waggle-mesh/waggle/internal/model/spell"
)

// placesOf are the categories that a field takes. A message that wraps an
// extension inherits those of the field that it stands in.
func placesOf(f protoreflect.FieldDescriptor, inherited []string) []string {
	if own := extension.Place(string(f.ContainingMessage().FullName()), string(f.Name())); own != nil {
		return own
	}
	if wraps(f.ContainingMessage()) && f.Name() == "typed_config" {
		return inherited
	}
	return nil
}

// wraps tells of the messages that say no more than an extension's name.
func wraps(d protoreflect.MessageDescriptor) bool {
	return d.FullName() == "envoy.config.core.v3.TypedExtensionConfig" || d.FullName() == "envoy.config.core.v3.TransportSocket"
}

// typeName reads an Any's "@type".
func (c *checker) typeName(tree map[string]any, at string) (string, bool) {
	url, ok := tree["@type"].(string)
	if !ok || url == "" {
		c.say(step(at, "@type"), `must name a type: "type.googleapis.com/envoy.…"`)
		return "", false
	}
	return url[strings.LastIndexByte(url, '/')+1:], true
}

// everywhere are types that stand where extensions do, and configure none.
var everywhere = []string{"envoy.config.route.v3.FilterConfig"}

// extension checks what stands in an Any.
func (c *checker) extension(tree map[string]any, at string, places []string, depth int) {
	name, ok := c.typeName(tree, at)
	if !ok {
		return
	}
	var fit []string
	for _, place := range places {
		fit = append(fit, extension.Types(place)...)
	}
	t, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(name))
	switch {
	case err != nil:
		if fit == nil {
			fit = extension.Types("")
		}
		c.say(step(at, "@type"), "%s is unknown to this Envoy%s", clip(name), suggestType(name, fit))
		return
	case strings.HasSuffix(name, ".TypedStruct"):
		c.say(step(at, "@type"), "%s hides what it holds: write the type that its type_url names in its place", name)
		return
	case places != nil && !slices.Contains(fit, name) && !slices.Contains(everywhere, name):
		c.say(step(at, "@type"), "%s is no configuration of %s%s", name, strings.Join(places, ", "), suggestType(name, fit))
		return
	}
	d := t.Descriptor()
	if _, isValue := tree["value"]; isValue && strings.HasPrefix(name, "google.protobuf.") {
		c.message(tree["value"], d, step(at, "value"), nil, depth)
		return
	}
	c.fields(tree, d, at, nil, 1)
}

// suggestType names the type that was probably meant: the one type whose last
// name is the same, as in another version, or nearly.
func suggestType(name string, known []string) string {
	last := func(s string) string { return s[strings.LastIndexByte(s, '.')+1:] }
	best, least, several := "", 1+len(last(name))/4, false
	for _, k := range known {
		switch d := spell.Distance(last(k), last(name)); {
		case len(name) > longestQuoted:
		case d < least:
			best, least, several = k, d, false
		case d == least && best != "":
			several = true
		}
	}
	if best == "" || several {
		return ""
	}
	return fmt.Sprintf(", did you mean %q?", best)
}

// suggestName names the extension that was probably meant.
func suggestName(name string, known []string) string {
	if near := spell.Nearest(name, known); near != "" && spell.Distance(name, near) <= 3 {
		return fmt.Sprintf(", did you mean %q?", near)
	}
	return ""
}

// extensionName checks the name beside an extension's configuration. Envoy
// goes by the type; a name of the user's own is fine as long as it is not
// another extension's, or nearly one.
func (c *checker) extensionName(tree map[string]any, d protoreflect.MessageDescriptor, at string, inherited []string) {
	config := d.Fields().ByName("typed_config")
	if config == nil || d.Fields().ByName("name") == nil || config.Message() == nil || config.Message().FullName() != "google.protobuf.Any" {
		return
	}
	places := placesOf(config, inherited)
	name, _ := tree["name"].(string)
	given, hasConfig := first(tree, "typed_config", "typedConfig").(map[string]any)
	if name == "" || places == nil || first(tree, "config_discovery", "configDiscovery") != nil {
		return
	}
	var names, takes []string
	for _, place := range places {
		names = append(names, extension.Names(place)...)
		takes = append(takes, extension.Named(place, name)...)
	}
	isKnown := slices.Contains(names, name)
	if !hasConfig {
		switch {
		case !isKnown:
			c.say(step(at, "name"), "this Envoy has no %s%s", clip(name), suggestName(name, names))
		case len(takes) > 0:
			c.say(at, "typed_config is missing: %s takes %s", name, strings.Join(takes, " or "))
		}
		return
	}
	url, _ := given["@type"].(string)
	t := url[strings.LastIndexByte(url, '/')+1:]
	isFilter := strings.HasPrefix(places[0], "envoy.filters.")
	fits := slices.ContainsFunc(places, func(place string) bool { return slices.Contains(extension.Types(place), t) })
	switch {
	case !fits: // it has been said
	case isKnown && len(takes) > 0 && isFilter && !slices.Contains(takes, t):
		c.say(step(at, "name"), "%s takes %s, not %s", name, strings.Join(takes, " or "), clip(t))
	case !isKnown && isFilter && !derived(name, names):
		if near := suggestName(name, names); near != "" || strings.HasPrefix(name, "envoy.") {
			c.say(step(at, "name"), "this Envoy has no %s%s", clip(name), near)
		}
	}
}

// derived tells of a name that was made of an extension's, as where one filter
// stands twice: "envoy.filters.http.ext_authz/second".
func derived(name string, names []string) bool {
	return slices.ContainsFunc(names, func(n string) bool {
		rest, ok := strings.CutPrefix(name, n)
		return ok && rest != "" && strings.ContainsRune("./-_", rune(rest[0]))
	})
}

func first(tree map[string]any, names ...string) any {
	for _, name := range names {
		if v := tree[name]; v != nil {
			return v
		}
	}
	return nil
}
