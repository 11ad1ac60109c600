package cli_test

import (
	"strings"
	"testing"

	"github.com/waggle-mesh/waggle/internal/cli"
	"github.com/waggle-mesh/waggle/internal/standalone"
)

// TestReportWithoutGood: what is as it should be can be left out, and what is
// wrong never is.
func TestReportWithoutGood(t *testing.T) {
	report := &standalone.Report{Objects: 2, Bad: 1, Errors: 1,
		Conditions: []standalone.Condition{
			{Kind: "Gateway", Namespace: "a", Name: "fine", Type: "Accepted", Status: "True", Reason: "Accepted", Good: true},
			{Kind: "HTTPRoute", Namespace: "a", Name: "bad", File: "x.yaml", Line: 7, Type: "Accepted", Status: "False", Reason: "NoMatchingParent", Message: "no such Gateway"},
		},
		Problems: []standalone.Problem{{File: "y.yaml", Line: 3, Object: "Service a/b", Field: "spec.prots", Message: "unknown field", Severity: "error"}},
	}
	for _, all := range []bool{true, false} {
		var out strings.Builder
		if err := cli.PrintReport(&out, report, "", all); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{
			"a/bad", "x.yaml:7", "no such Gateway", "y.yaml:3: error: Service a/b: spec.prots: unknown field",
			"2 objects read: 1 object not as they should be, 1 error in files",
		} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("all=%t: %q is missing in\n%s", all, want, &out)
			}
		}
		if got := strings.Contains(out.String(), "a/fine"); got != all {
			t.Errorf("all=%t: the good condition is shown: %t", all, got)
		}
	}
}
