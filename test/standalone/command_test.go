package standalone_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/waggle-mesh/waggle/internal/golden"
)

// TestHelp: every command has help with an example, and says what its exit codes
// mean.
func TestHelp(t *testing.T) {
	t.Parallel()
	found := 0
	var look func(path ...string)
	look = func(path ...string) {
		help := run(t, append(path, "--help")...)
		if help.code != 0 || !strings.Contains(help.stdout, "Examples:\n  ") && !strings.Contains(help.stdout, "To load completions") {
			t.Errorf("waggle %s --help: exit code %d, no example:\n%s", strings.Join(path, " "), help.code, help.stdout)
		}
		_, list, group := strings.Cut(help.stdout, "Available Commands:\n")
		if !group && !strings.Contains(help.stdout, "Exit code") {
			t.Errorf("waggle %s --help says nothing of exit codes:\n%s", strings.Join(path, " "), help.stdout)
		}
		list, _, _ = strings.Cut(list, "\n\n")
		for line := range strings.SplitSeq(list, "\n") {
			if fields := strings.Fields(line); len(fields) > 0 && fields[0] != "help" {
				found++
				look(append(append([]string{}, path...), fields[0])...)
			}
		}
	}
	look()
	if found < 5 {
		t.Errorf("found only %d commands", found)
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	if got := run(t, "version"); got.code != 0 || !strings.HasPrefix(got.stdout, "waggle test (go1.") {
		t.Errorf("%+v", got)
	}
}

func TestCompletion(t *testing.T) {
	t.Parallel()
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if got := run(t, "completion", shell); got.code != 0 || !strings.Contains(got.stdout, "waggle") {
			t.Errorf("%s: exit code %d, %d bytes", shell, got.code, len(got.stdout))
		}
	}
}

func TestAnalyzeExitCodes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		path string
		code int
	}{
		{"testdata/good", 0}, {"testdata/bad", 1}, {"testdata/good/all.yaml", 0}, {"testdata/none", 2},
		{"../../examples/canary", 0}, {"../../examples/echo-50-50", 0}, {"../../examples/echo-90-10", 0}, {"../../examples/redirects", 0},
	} {
		if got := run(t, "analyze", c.path); got.code != c.code {
			t.Errorf("analyze %s: exit code %d, want %d\n%s%s", c.path, got.code, c.code, got.stdout, got.stderr)
		}
	}
}

func TestAnalyzeOutput(t *testing.T) {
	t.Parallel()
	table, asJSON, asYAML := run(t, "analyze", "testdata/bad"), run(t, "analyze", "testdata/bad", "-o", "json"), run(t, "analyze", "testdata/bad", "-o", "yaml")
	golden.File(t, "testdata/analyze-bad.txt", table.stdout)
	golden.File(t, "testdata/analyze-bad.json", asJSON.stdout)
	golden.File(t, "testdata/analyze-good.txt", run(t, "analyze", "testdata/good").stdout)
	for _, o := range []outcome{table, asJSON, asYAML} {
		if o.code != 1 || o.stderr != "" {
			t.Errorf("exit code %d, %s", o.code, o.stderr)
		}
	}
	converted, err := yaml.YAMLToJSON([]byte(asYAML.stdout))
	if err != nil {
		t.Fatal(err)
	}
	var one, other any
	if err := json.Unmarshal(converted, &one); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(asJSON.stdout), &other); err != nil {
		t.Fatal(err)
	}
	a, _ := json.Marshal(one)
	b, _ := json.Marshal(other)
	if string(a) != string(b) {
		t.Errorf("YAML says %s, JSON says %s", a, b)
	}
	if got := run(t, "analyze", "testdata/bad", "-o", "xml"); got.code != 2 || !strings.Contains(got.stderr, "table, json or yaml") {
		t.Errorf("-o xml: %+v", got)
	}
}

// TestStatusOutput looks at the table with what differs from run to run taken
// out.
func TestStatusOutput(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	p.start()
	m := p.served()
	m.service("empty", "")
	m.route("broken", `
		hostnames: [broken.example.com]
		rules:
		- matches: [{path: {value: /nobody}}]
		  backendRefs: [{name: nobody, port: 80}]
		- matches: [{path: {value: /empty}}]
		  backendRefs: [{name: empty, port: 80}]
		`)
	m.answers("http://broken.example.com/nobody → 500\nhttp://broken.example.com/empty → 503")
	m.apply("wrong", "apiVersion: v1\nkind: Service\nmetadata: {nam: x}\n")
	m.awaitProblem("wrong.yaml", "nam")
	got := run(t, "status", "--state-dir", p.stateDir)
	if got.code != 1 {
		t.Errorf("exit code %d, want 1: something is wrong", got.code)
	}
	text := replace(got.stdout, p.dir, "DIR", m.namespace, "site", m.address.String(), "ADDRESS")
	text = regexp.MustCompile(`pid \d+`).ReplaceAllString(text, "pid PID")
	text = regexp.MustCompile(`since [0-9: -]+`).ReplaceAllString(text, "since TIME")
	text = regexp.MustCompile(`127\.0\.0\.1:\d+`).ReplaceAllString(text, "BACKEND")
	text = regexp.MustCompile(` +`).ReplaceAllString(text, " ")
	golden.File(t, "testdata/status.txt", text)

	m.remove("route-broken")
	m.remove("wrong")
	m.awaitNoConditions()
	if got := run(t, "status", "--state-dir", p.stateDir); got.code != 0 {
		t.Errorf("exit code %d, want 0\n%s", got.code, got.stdout)
	}
	var status map[string]any
	if err := json.Unmarshal([]byte(run(t, "status", "--state-dir", p.stateDir, "-o", "json").stdout), &status); err != nil {
		t.Error(err)
	}
	for _, key := range []string{"envoy", "listeners", "routes", "backends", "resources", "rejected", "conditions", "problems"} {
		if status[key] == nil {
			t.Errorf("the JSON has no %s", key)
		}
	}
}
