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
	above := enterable(t)
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
	asContainer(t, "TestBecomeOwner", child+"="+dir)
}

// TestPrepareAgain: what an Envoy that was killed has left is in nobody's way
// when its container is started again.
func TestPrepareAgain(t *testing.T) {
	const child = "WAGGLE_TEST_PREPARED_DIR"
	if dir := os.Getenv(child); dir != "" {
		o := ExecOptions{Node: "n1", Dir: dir, XDSSocket: "/xds.sock", UID: 1337}
		for range 2 {
			if _, err := o.prepare(); err != nil {
				t.Fatal(err)
			}
		}
		return
	}
	asContainer(t, "TestPrepareAgain", child+"="+filepath.Join(enterable(t), "run"))
}

// enterable is a directory, not below one of root's own.
func enterable(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "owned")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	return dir
}

// asContainer runs a test once more, as root who may not pass over others'
// permissions.
func asContainer(t *testing.T, test, environment string) {
	t.Helper()
	run := exec.Command("setpriv", "--bounding-set", "-dac_override,-dac_read_search", os.Args[0], "-test.run", "^"+test+"$")
	run.Env = append(os.Environ(), environment)
	if out, err := run.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}
