package proxy

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestBecomeOwner: a container's root without the right to pass over others'
// permissions reaches Envoy's admin socket, which is Envoy's user's alone.
func TestBecomeOwner(t *testing.T) {
	const child, uid = "WAGGLE_TEST_OWNED_DIR", 1337
	if dir := os.Getenv(child); dir != "" {
		if _, err := net.Dial("unix", filepath.Join(dir, Admin)); err == nil || !strings.Contains(err.Error(), "permission denied") {
			t.Fatalf("as root: %v", err)
		}
		if err := BecomeOwner(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := net.Dial("unix", filepath.Join(dir, Admin)); err != nil {
			t.Fatalf("as its owner: %v", err)
		}
		return
	}
	above, err := os.MkdirTemp("", "owned") // not below a directory of root's own
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(above) })
	dir := filepath.Join(above, "run")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	lis, err := net.Listen("unix", filepath.Join(dir, Admin))
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	for _, path := range []string{dir, filepath.Join(dir, Admin)} {
		if err := os.Chown(path, uid, uid); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(above, 0o711); err != nil {
		t.Fatal(err)
	}
	run := exec.Command("setpriv", "--bounding-set", "-dac_override,-dac_read_search", os.Args[0], "-test.run", "^TestBecomeOwner$")
	run.Env = append(os.Environ(), child+"="+dir)
	if out, err := run.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}
