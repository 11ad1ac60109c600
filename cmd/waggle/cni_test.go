package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestPluginBeside: the small program is installed where there is one, and is
// the plugin.
func TestPluginBeside(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if got := pluginBinary(); got != "" {
		t.Fatalf("beside this test is %s", got)
	}
	beside := filepath.Join(filepath.Dir(self), "waggle-cni")
	if out, err := exec.Command("go", "build", "-o", beside, "../waggle-cni").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Cleanup(func() { os.Remove(beside) })
	if got := pluginBinary(); got != beside {
		t.Errorf("found %q, want %s", got, beside)
	}
	plugin := exec.Command(beside)
	plugin.Env = append(os.Environ(), "CNI_COMMAND=VERSION")
	if out, err := plugin.Output(); err != nil || len(out) == 0 {
		t.Errorf("it says %q, %v", out, err)
	}
}
