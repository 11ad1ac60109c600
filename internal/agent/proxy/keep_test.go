package proxy

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestKeep: what a signal ends is started again, without what it has left; what
// ends by itself is not.
func TestKeep(t *testing.T) {
	dir := t.TempDir()
	left := filepath.Join(dir, "left")
	code, err := Keep([]string{"/bin/sh", "-c", `
		echo x >>"$0/starts"
		[ ! -e "$0/left" ] || exit 9
		echo >"$0/left"
		[ "$(wc -l <"$0/starts")" = 3 ] && exit 3
		kill -9 $$`, dir}, left)
	starts, _ := os.ReadFile(filepath.Join(dir, "starts"))
	if code != 3 || err != nil || string(starts) != "x\nx\nx\n" {
		t.Errorf("exit code %d after starts %q, want 3 after 3: %v", code, starts, err)
	}
}

// TestKeepIsTold: who is told to end passes it on, and ends with what it keeps.
func TestKeepIsTold(t *testing.T) {
	const child = "WAGGLE_TEST_KEEP"
	if os.Getenv(child) != "" {
		code, err := Keep([]string{"/bin/sh", "-c", `trap 'echo told; exit 7' TERM; echo ready; while :; do sleep 0.01; done`})
		if err != nil {
			t.Fatal(err)
		}
		os.Exit(code)
	}
	for _, end := range []struct {
		signal syscall.Signal
		code   int
		says   string
	}{{syscall.SIGTERM, 7, "ready\ntold\n"}, {syscall.SIGKILL, -1, "ready\n"}} {
		run := exec.Command(os.Args[0], "-test.run", "^TestKeepIsTold$")
		run.Env = append(os.Environ(), child+"=1")
		out, err := run.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := run.Start(); err != nil {
			t.Fatal(err)
		}
		var said strings.Builder
		b := make([]byte, 64)
		for {
			n, err := out.Read(b) // until the last who has it open ends
			said.Write(b[:n])
			if err != nil {
				break
			}
			if said.String() == "ready\n" {
				_ = run.Process.Signal(end.signal)
			}
		}
		_ = run.Wait()
		if said.String() != end.says || run.ProcessState.ExitCode() != end.code {
			t.Errorf("%s: it says %q and ends with %d, want %q and %d", end.signal, said.String(), run.ProcessState.ExitCode(), end.says, end.code)
		}
	}
}
