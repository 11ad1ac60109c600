package gateway

import (
	"slices"
	"strings"
	"time"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/waggle-mesh/waggle/internal/model"
)

// timeouts translates a rule's timeouts. Those that are not given are none.
func (r *ruleReader) timeouts(spec *gatewayv1.HTTPRouteTimeouts, to *model.Forward) {
	if spec == nil {
		return
	}
	path := r.path.dot("timeouts")
	to.Timeout = r.duration(spec.Request, path.dot("request"))
	to.BackendTimeout = r.duration(spec.BackendRequest, path.dot("backendRequest"))
	if to.Timeout > 0 && to.BackendTimeout > to.Timeout {
		r.refuse(path.dot("backendRequest"), "%s is longer than request, %s; use at most that", to.BackendTimeout, to.Timeout)
	}
}

// retry translates a rule's retry.
func (r *ruleReader) retry(spec *gatewayv1.HTTPRouteRetry, to *model.Forward) {
	if spec == nil {
		return
	}
	const most = 100
	path := r.path.dot("retry")
	out := &model.Retry{Attempts: derefOr(spec.Attempts, 1), Backoff: r.duration(spec.Backoff, path.dot("backoff"))}
	if out.Attempts < 1 || out.Attempts > most {
		r.refuse(path.dot("attempts"), "%d attempts are not supported; use 1 to %d", out.Attempts, most)
	}
	for i, code := range spec.Codes {
		if code < 400 || code > 599 {
			r.refuse(path.at("codes", i), "%d is not the status of an error; use 400 to 599", code)
		}
		out.Codes = append(out.Codes, int(code))
	}
	slices.Sort(out.Codes)
	out.Codes = slices.Compact(out.Codes)
	to.Retry = out
}

// duration reads a duration of the Gateway API (GEP-2257), zero if it is not
// given: one to four numbers of at most five digits with units h, m, s or ms.
func (r *ruleReader) duration(spec *gatewayv1.Duration, path field) time.Duration {
	if spec == nil {
		return 0
	}
	if !validDuration(string(*spec)) {
		r.refuse(path, "%s is not a duration; use one such as 10s, 1m30s or 500ms", quoted(string(*spec)))
		return 0
	}
	out, err := time.ParseDuration(string(*spec))
	if err != nil {
		r.refuse(path, "%s is not a duration: %v", quoted(string(*spec)), err)
	}
	return out
}

func validDuration(s string) bool {
	for parts := 0; s != ""; parts++ {
		digits := len(s) - len(strings.TrimLeft(s, "0123456789"))
		if parts == 4 || digits < 1 || digits > 5 {
			return false
		}
		s = s[digits:]
		switch {
		case strings.HasPrefix(s, "ms"):
			s = s[2:]
		case strings.HasPrefix(s, "h"), strings.HasPrefix(s, "m"), strings.HasPrefix(s, "s"):
			s = s[1:]
		default:
			return false
		}
		if s == "" {
			return true
		}
	}
	return false
}
