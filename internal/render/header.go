package render

import (
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/waggle-mesh/waggle/internal/model"
)

// mutation renders mutations that follow each other for the fields that take
// additions and removals. Envoy removes first, then goes through the
// additions in order. Host is not a header to Envoy: see hostSet.
func mutation(inOrder ...model.HeaderMutation) (additions []*corev3.HeaderValueOption, removals []string) {
	for _, m := range inOrder {
		for _, name := range m.Remove {
			if !isHost(name) {
				removals = append(removals, name)
				additions = slices.DeleteFunc(additions, func(a *corev3.HeaderValueOption) bool {
					return strings.EqualFold(a.Header.Key, name)
				})
			}
		}
		for _, h := range m.Set {
			if !isHost(h.Name) {
				additions = append(additions, addition(h, corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD))
			}
		}
		for _, h := range m.Add {
			if !isHost(h.Name) {
				additions = append(additions, addition(h, corev3.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD))
			}
		}
	}
	return additions, removals
}

func addition(h model.Header, action corev3.HeaderValueOption_HeaderAppendAction) *corev3.HeaderValueOption {
	return &corev3.HeaderValueOption{
		Header:         &corev3.HeaderValue{Key: h.Name, Value: literal(h.Value)},
		AppendAction:   action,
		KeepEmptyValue: h.Value == "",
	}
}

// hostSet gives what m sets Host to, or nothing. A request has one Host:
// adding to it, or removing it, is left undone.
func hostSet(m model.HeaderMutation) string {
	for _, h := range m.Set {
		if isHost(h.Name) {
			return h.Value
		}
	}
	return ""
}

// isHost tells whether Envoy would reject a mutation of the header: Host,
// and those that HTTP/2 writes with a colon.
func isHost(name string) bool {
	return strings.HasPrefix(name, ":") || strings.EqualFold(name, "host")
}
