package spell

import "testing"

func TestNearest(t *testing.T) {
	known := []string{"virtual_hosts", "name", "validate_clusters"}
	for name, want := range map[string]string{
		"virtualhosts": "virtual_hosts", "NAME": "name", "naem": "name", "validate_cluster": "validate_clusters",
		"unlike": "", "": "",
	} {
		if got := Nearest(name, known); got != want {
			t.Errorf("nearest to %q is %q, want %q", name, got, want)
		}
	}
}
