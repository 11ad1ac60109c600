package install

import (
	"errors"
	"strings"
	"testing"

	release "helm.sh/helm/v4/pkg/release/v1"
)

// TestFinish: what the chart has to say is printed, and of a dry run the objects.
func TestFinish(t *testing.T) {
	made := &release.Release{Info: &release.Info{Notes: "\nNo Gateway is served.\n"}, Manifest: "kind: DaemonSet\n"}
	for _, test := range []struct {
		dry           bool
		err           error
		notes, object string
	}{
		{false, nil, "No Gateway is served.\n\n", ""},
		{true, nil, "", "kind: DaemonSet\n"},
		{false, errors.New("x"), "", ""},
	} {
		var notes, objects strings.Builder
		r := &Release{o: Options{Notes: &notes}}
		if test.dry {
			r.o.DryRun = &objects
		}
		if err := r.finish(made, test.err); !errors.Is(err, test.err) || notes.String() != test.notes || objects.String() != test.object {
			t.Errorf("dry run %v: notes %q, objects %q, %v", test.dry, notes.String(), objects.String(), err)
		}
	}
}
