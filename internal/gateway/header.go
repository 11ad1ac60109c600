package gateway

import (
	"strings"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/waggle-mesh/waggle/internal/model"
)

// headers translates a header modifier, of requests or of responses.
func (r *ruleReader) headers(spec *gatewayv1.HTTPHeaderFilter, path field, ofRequest bool) model.HeaderMutation {
	h := headerReader{ruleReader: r, ofRequest: ofRequest, actions: map[string]string{}}
	return model.HeaderMutation{
		Set:    h.values(spec.Set, path, "set"),
		Add:    h.values(spec.Add, path, "add"),
		Remove: h.removed(spec.Remove, path),
	}
}

// headerReader translates one header modifier.
type headerReader struct {
	*ruleReader
	ofRequest bool
	actions   map[string]string // what is done to a header, by its name in lower case
}

func (h headerReader) values(specs []gatewayv1.HTTPHeader, path field, action string) []model.Header {
	var out []model.Header
	for i, spec := range specs {
		at := path.at(action, i)
		if !h.claim(string(spec.Name), at.dot("name"), action) {
			continue
		}
		switch {
		case spec.Value == "" || len(spec.Value) > 4096:
			h.refuse(at.dot("value"), "the value is %d bytes long; use 1 to 4096", len(spec.Value))
		case !validText(spec.Value):
			h.refuse(at.dot("value"), "%s holds control characters or no UTF-8; remove them", quoted(spec.Value))
		}
		out = append(out, model.Header{Name: string(spec.Name), Value: spec.Value})
	}
	return out
}

func (h headerReader) removed(names []string, path field) []string {
	var out []string
	for i, name := range names {
		if h.claim(name, path.at("remove", i), "remove") {
			out = append(out, name)
		}
	}
	return out
}

// claim tells whether an action on a header is the first of its kind. The API
// ignores a second one of the same kind and has one of another kind refused.
func (h headerReader) claim(name string, path field, action string) bool {
	lower := strings.ToLower(name)
	switch {
	case !validToken(name):
		h.refuse(path, "%s is not the name of a header; use letters, digits and !#$%%&'*+-.^_`|~", quoted(name))
	case h.ofRequest && lower == "host":
		h.refuse(path, "the Host header decides on the route; change it with a URLRewrite filter's hostname")
	case lower == "content-length" || lower == "transfer-encoding":
		h.refuse(path, "%s says where the message ends, which no filter changes; remove it", name)
	}
	before, again := h.actions[lower]
	if again && before != action {
		h.refuse(path, "header %s is also in %s; one action for each header is allowed", quoted(name), before)
	}
	h.actions[lower] = action
	return !again
}
