package main

import (
	"strings"
	"testing"
)

// TestUsage: a command that is not there is an error that names what was meant;
// one about arguments says which there are, one about no cluster how to name it.
func TestUsage(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	t.Setenv("KUBECONFIG", "")
	for line, want := range map[string]string{
		"gateway shw":      `waggle: unknown command "shw" for "waggle gateway"; did you mean show?` + "\nexit code 2",
		"map bogus":        `waggle: unknown command "bogus" for "waggle map"` + "\nexit code 2",
		"cec show":         "waggle: accepts 1 arg(s), received 0; usage: waggle cec show [NAMESPACE/]NAME [flags]\nexit code 2",
		"endpoint list n1": `waggle: unknown command "n1" for "waggle endpoint list"; usage: waggle endpoint list [flags]` + "\nexit code 2",
		"gateway list":     "waggle: which cluster? Say --kubeconfig or set KUBECONFIG: there is no ~/.kube/config, and this is no pod\nexit code 2",
	} {
		if got := execute(t, strings.Fields(line)); got != want {
			t.Errorf("waggle %s: %s, want %s", line, got, want)
		}
	}
	if got := execute(t, []string{"gateway"}); !strings.Contains(got, "Available Commands:") || strings.Contains(got, "exit code") {
		t.Errorf("waggle gateway: %s", got)
	}
}
