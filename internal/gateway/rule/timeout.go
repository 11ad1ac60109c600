package rule

import (
	"slices"
	"time"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/waggle-mesh/waggle/internal/gateway/field"
	"github.com/waggle-mesh/waggle/internal/model"
)

// timeouts translates a rule's timeouts. Those that are not given are none.
func (r *reader) timeouts(spec *gatewayv1.HTTPRouteTimeouts, to *model.Forward) {
	if spec == nil {
		return
	}
	path := r.path.Dot("timeouts")
	to.Timeout = r.duration(spec.Request, path.Dot("request"))
	to.BackendTimeout = r.duration(spec.BackendRequest, path.Dot("backendRequest"))
	if to.Timeout > 0 && to.BackendTimeout > to.Timeout {
		r.refuse(path.Dot("backendRequest"), "%s is longer than request, %s; use at most that", to.BackendTimeout, to.Timeout)
	}
}

// retry translates a rule's retry.
func (r *reader) retry(spec *gatewayv1.HTTPRouteRetry, to *model.Forward) {
	if spec == nil {
		return
	}
	const most = 100
	path := r.path.Dot("retry")
	out := &model.Retry{Attempts: field.Or(spec.Attempts, 1), Backoff: r.duration(spec.Backoff, path.Dot("backoff"))}
	if out.Attempts < 1 || out.Attempts > most {
		r.refuse(path.Dot("attempts"), "%d attempts are not supported; use 1 to %d", out.Attempts, most)
	}
	for i, code := range spec.Codes {
		if code < 400 || code > 599 {
			r.refuse(path.At("codes", i), "%d is not the status of an error; use 400 to 599", code)
		}
		out.Codes = append(out.Codes, int(code))
	}
	slices.Sort(out.Codes)
	out.Codes = slices.Compact(out.Codes)
	to.Retry = out
}

// duration reads a duration, zero if it is not given.
func (r *reader) duration(spec *gatewayv1.Duration, path field.Path) time.Duration {
	if spec == nil {
		return 0
	}
	out, ok := field.Duration(string(*spec))
	if !ok {
		r.refuse(path, "%s is not a duration; use one such as 10s, 1m30s or 500ms", field.Quoted(string(*spec)))
	}
	return out
}
