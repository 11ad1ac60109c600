package sysdump

import (
	"strings"
	"testing"
)

// TestHeaders: what a route sets or asks for in a header that lets somebody in is
// no one else's business; other headers are.
func TestHeaders(t *testing.T) {
	for _, text := range []string{
		`{"filters": [{"requestHeaderModifier": {"set": [{"name": "Authorization", "value": "Bearer s3cret"}]}}]}`,
		`{"matches": [{"headers": [{"type": "Exact", "name": "x-api-key", "value": "s3cret"}]}]}`,
		`{"request_headers_to_add": [{"header": {"key": "cookie", "value": "id=s3cret"}, "append_action": "ADD_IF_ABSENT"}]}`,
		`{"requestHeadersToAdd": [{"header": {"key": "cookie", "rawValue": "s3cret"}}]}`,
		`{"match": {"headers": [{"name": "authorization", "string_match": {"exact": "s3cret"}}]}}`,
		`{"match": {"headers": [{"name": "authorization", "stringMatch": {"safeRegex": {"regex": "s3cret.*"}}}]}}`,
	} {
		got, err := redactAnswer([]byte(text))
		if err != nil || strings.Contains(string(got), "s3cret") || !strings.Contains(string(got), "redacted, ") {
			t.Errorf("%s gives %s, %v", text, got, err)
		}
	}
	for _, text := range []string{
		`{"metadata": {"name": "cookie", "labels": {"value": "kept"}}}`,
		`{"set": [{"name": "x-team", "value": "kept"}]}`,
	} {
		if got, err := redactAnswer([]byte(text)); err != nil || !strings.Contains(string(got), "kept") {
			t.Errorf("%s gives %s, %v", text, got, err)
		}
	}
}
