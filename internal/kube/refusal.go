package kube

import (
	"errors"
	"net/http"
	"regexp"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Refusal says for people why the cluster does not have an object as it was
// written, without the object's name, and in the same words at each try of the
// same. Empty: err is nil, or says nothing of the object: the API server does
// not answer or is busy, or somebody else was faster.
func Refusal(err error) string {
	for _, own := range []error{ErrForeign, ErrNotKept, errTerminating} {
		if errors.Is(err, own) {
			return own.Error()
		}
	}
	if errors.Is(err, ErrNotFound) {
		return "the API server does not have the kind, or not the namespace"
	}
	said, ok := errors.AsType[*apierrors.StatusError](err)
	if !ok {
		return ""
	}
	status := said.Status()
	if aboutItself(status) {
		return ""
	}
	return "the API server refuses it: " + why(status)
}

// aboutItself tells of an answer that is about the API server, or about who else
// writes, and not about the object.
func aboutItself(status metav1.Status) bool {
	switch status.Code {
	case http.StatusUnauthorized, http.StatusRequestTimeout, http.StatusConflict, http.StatusGone, http.StatusTooManyRequests,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	case http.StatusInternalServerError:
		return status.Reason == metav1.StatusReasonUnknown // etcd's; webhooks' have one
	case http.StatusForbidden:
		return strings.HasSuffix(status.Message, "not yet ready to handle request") // its first seconds
	}
	return false
}

// why is the API server's reason.
func why(status metav1.Status) string {
	var fields []string
	if status.Details != nil {
		for _, c := range status.Details.Causes {
			if c.Field != "" {
				fields = append(fields, c.Field+": "+c.Message)
			}
		}
	}
	if len(fields) > 0 {
		return strings.Join(fields, "; ")
	}
	message := status.Message
	// What comes before is the object's name, which may be one that the API
	// server made up.
	for _, verdict := range []string{`" is forbidden: `, `" is invalid: `} {
		if _, after, ok := strings.Cut(message, verdict); ok {
			message = after
		}
	}
	return ownEnd.ReplaceAllString(message, "")
}

// ownEnd is the API server's end of a connection to a webhook, whose port is
// another at each try.
var ownEnd = regexp.MustCompile(`\S+:\d+->`)
