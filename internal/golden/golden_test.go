package golden

import (
	"os"
	"testing"
)

// recorder is a testing.TB that takes note of failures.
type recorder struct {
	testing.TB
	failures int
}

func (r *recorder) Helper()               {}
func (r *recorder) Errorf(string, ...any) { r.failures++ }
func (r *recorder) Failed() bool          { return r.failures > 0 }

// play runs a case over a file, and tells how many failures there were and
// what the file is afterwards.
func play(t *testing.T, text string, update bool, test func(*Case)) (failures int, after string) {
	t.Helper()
	t.Chdir(t.TempDir())
	if err := os.WriteFile("case.txtar", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	defer func(was bool) { *Update = was }(*Update)
	*Update = update
	c := Cases(t, "*.txtar")[0]
	r := &recorder{TB: t}
	c.t = r
	test(c)
	c.finish()
	out, err := os.ReadFile(c.file)
	if err != nil {
		t.Fatal(err)
	}
	return r.failures, string(out)
}

// TestCase: what is expected and what is not, what nobody reads, and what
// -update makes of it.
func TestCase(t *testing.T) {
	const text = "A comment.\n-- in --\nx\n-- out --\n\ny\n\n"
	for _, c := range []struct {
		name     string
		update   bool
		test     func(*Case)
		failures int
		after    string
	}{
		{"as expected", false, func(c *Case) { c.Section("in"); c.Expect("out", "y"); c.Expect("none", "") }, 0, text},
		{"different", false, func(c *Case) { c.Section("in"); c.Expect("out", "z\n") }, 1, text},
		{"not there", false, func(c *Case) { c.Section("in"); c.Expect("out", "y"); c.Expect("more", "z") }, 1, text},
		{"unread", false, func(c *Case) { c.Expect("out", "y") }, 1, text},
		{"update", true, func(c *Case) { c.Section("in"); c.Expect("out", "z"); c.Expect("more", "w\n") }, 0,
			"A comment.\n-- in --\nx\n-- out --\nz\n-- more --\nw\n"},
		{"nothing to update", true, func(c *Case) { c.Section("in"); c.Expect("out", "y") }, 0, text},
		{"a failed test updates nothing", true, func(c *Case) { c.Section("in"); c.Expect("out", "z"); c.t.Errorf("no") }, 1, text},
	} {
		t.Run(c.name, func(t *testing.T) {
			failures, after := play(t, text, c.update, c.test)
			if failures != c.failures || after != c.after {
				t.Errorf("%d failures, want %d; the file is\n%s", failures, c.failures, after)
			}
		})
	}
}
