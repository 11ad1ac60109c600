package rule

import (
	"strings"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/waggle-mesh/waggle/internal/gateway/field"
	"github.com/waggle-mesh/waggle/internal/model"
)

// headers translates a header modifier, of requests or of responses.
func (r *reader) headers(spec *gatewayv1.HTTPHeaderFilter, path field.Path, ofRequest bool) model.HeaderMutation {
	if !r.few(path.Dot("set"), len(spec.Set), 16) || !r.few(path.Dot("add"), len(spec.Add), 16) ||
		!r.few(path.Dot("remove"), len(spec.Remove), 16) {
		return model.HeaderMutation{}
	}
	h := headerReader{reader: r, ofRequest: ofRequest, actions: map[string]string{}}
	return model.HeaderMutation{
		Set:    h.values(spec.Set, path, "set"),
		Add:    h.values(spec.Add, path, "add"),
		Remove: h.removed(spec.Remove, path),
	}
}

// headerReader translates one header modifier.
type headerReader struct {
	*reader
	ofRequest bool
	actions   map[string]string // what is done to a header, by its name in lower case
}

func (h headerReader) values(specs []gatewayv1.HTTPHeader, path field.Path, action string) []model.Header {
	var out []model.Header
	for i, spec := range specs {
		at := path.At(action, i)
		if !h.claim(string(spec.Name), at.Dot("name"), action) {
			continue
		}
		switch {
		case spec.Value == "" || len(spec.Value) > 4096:
			h.refuse(at.Dot("value"), "the value is %d bytes long; use 1 to 4096", len(spec.Value))
		case !field.ValidText(spec.Value):
			h.refuse(at.Dot("value"), "%s holds control characters or no UTF-8; remove them", field.Quoted(spec.Value))
		}
		out = append(out, model.Header{Name: string(spec.Name), Value: spec.Value})
	}
	return out
}

func (h headerReader) removed(names []string, path field.Path) []string {
	var out []string
	for i, name := range names {
		if h.claim(name, path.At("remove", i), "remove") {
			out = append(out, name)
		}
	}
	return out
}

// claim tells whether an action on a header is the first of its kind. The API
// ignores a second one of the same kind and has one of another kind refused.
func (h headerReader) claim(name string, path field.Path, action string) bool {
	lower := strings.ToLower(name)
	switch {
	case !field.ValidToken(name):
		h.refuse(path, "%s is not the name of a header; use letters, digits and !#$%%&'*+-.^_`|~", field.Quoted(name))
	case h.ofRequest && lower == "host":
		h.refuse(path, "the Host header decides on the route; change it with a URLRewrite filter's hostname")
	case lower == "content-length" || lower == "transfer-encoding":
		h.refuse(path, "%s says where the message ends, which no filter changes; remove it", name)
	}
	before, again := h.actions[lower]
	if again && before != action {
		h.refuse(path, "header %s is also in %s; one action for each header is allowed", field.Quoted(name), before)
	}
	h.actions[lower] = action
	return !again
}
