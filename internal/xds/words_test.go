package xds_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/waggle-mesh/waggle/internal/model"
)

// Envoy quotes what it rejects, and cuts that where it is too long, in the
// middle of a character or not. Its words arrive, and what comes next is served.
func TestRejectionInWordsThatAreNoText(t *testing.T) {
	p, port, _, second := served(t)
	header := func(value string) *routev3.Route {
		r := to("svc/0")
		r.ResponseHeadersToAdd = []*corev3.HeaderValueOption{{Header: &corev3.HeaderValue{Key: "x", Value: value}}}
		return r
	}
	body := to("svc/0")
	body.Action = &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{Status: 200, BodyFormat: &corev3.SubstitutionFormatString{
		Format: &corev3.SubstitutionFormatString_TextFormatSource{TextFormatSource: &corev3.DataSource{
			Specifier: &corev3.DataSource_InlineBytes{InlineBytes: []byte("\xff\xfe%REQ(x")}}}}}}
	for name, bad := range map[string]*routev3.Route{
		"cut": header(strings.Repeat("é", 3000) + "%REQ(x"), "cut elsewhere": header("x" + strings.Repeat("é", 3000) + "%REQ(x"), "bytes": body,
	} {
		p.server.Update([]model.Resource{table(t, "main", bad)}, nil)
		o := p.await(model.Rejected, key(model.RouteConfiguration, "main"))
		if !utf8.ValidString(o.Message) || !strings.HasPrefix(o.Message, "Incorrect configuration: ") {
			t.Errorf("%s: %q", name, o.Message)
		}
		p.update(append(service(t, "svc/"+name, second), table(t, "main", to("svc/"+name))))
		awaitBody(t, port, "second")
		p.update([]model.Resource{table(t, "main", to("svc/0"))})
		awaitBody(t, port, "first")
	}
}
