package nodes

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/waggle-mesh/waggle/internal/agent/daemon"
)

// TestAgentReplacesEnvoy under load, by the command: no request fails.
func TestAgentReplacesEnvoy(t *testing.T) {
	n, a, c, _ := agentLab(t)
	n.apply(webConfig)
	old := n.startEnvoy()
	n.byEnvoy(a)
	if out, err := n.command("envoy", "replace", "--state-dir", n.stateDir(), "--timeout", "200ms"); err == nil || !strings.Contains(out, "no other Envoy") {
		t.Errorf("without another Envoy it says %q", out)
	}
	loads := agentLoads(t, a, c)
	for range 2 {
		fresh := n.startEnvoy()
		out, err := n.command("envoy", "replace", "--state-dir", n.stateDir())
		if err != nil {
			t.Fatalf("replace: %v\n%s", err, out)
		}
		t.Log(strings.TrimSpace(out))
		select {
		case <-old.gone:
		case <-time.After(10 * time.Second):
			t.Fatal("the old Envoy lives on")
		}
		old = fresh
	}
	if failed := stopLoads(t, loads); len(failed) > 0 {
		t.Errorf("the first failure: %+v", failed[0])
	}
}

// TestPreStop: the hook of an Envoy that a successor replaces ends when that has
// its connections; no request fails. It runs with the rights that Envoy's container
// has.
func TestPreStop(t *testing.T) {
	n, a, c, _ := agentLab(t, "--envoy-uid", "1337")
	n.apply(webConfig)
	old := n.startEnvoy()
	n.byEnvoy(a)
	loads := agentLoads(t, a, c)
	hook := n.runConfined("envoy-1", "envoy", "prestop", "--socket-dir", daemon.EnvoyDir(n.stateDir()))
	fresh := n.startEnvoy()
	select {
	case <-hook.gone:
	case <-time.After(40 * time.Second):
		t.Fatal("the hook does not end")
	}
	if !hook.ProcessState.Success() {
		t.Errorf("the hook: %v", hook.ProcessState)
	}
	old.Process.Signal(syscall.SIGTERM)
	<-old.gone
	if failed := stopLoads(t, loads); len(failed) > 0 {
		t.Errorf("the first failure: %+v", failed[0])
	}
	if s := n.status(); len(s.Envoys) != 1 || s.Envoys[0].PID != fresh.Process.Pid || !s.Envoys[0].Active {
		t.Errorf("Envoys are %+v", s.Envoys)
	}
}

// TestAgentEnvoyDies: another Envoy serves within 2 s of the first one's death,
// and only connections of before fail. A machine that is too busy gets three tries.
func TestAgentEnvoyDies(t *testing.T) {
	n, a, c, _ := agentLab(t)
	n.apply(webConfig)
	e := n.startEnvoy()
	n.byEnvoy(a)
	for try := range 3 {
		loads := agentLoads(t, a, c)
		time.Sleep(300 * time.Millisecond)
		died := time.Now()
		ended := kill(t, n.Node, e.Process.Pid, e.gone)
		e = n.startEnvoy()
		n.byEnvoy(a)
		away := time.Since(died)
		time.Sleep(time.Second)
		failed := stopLoads(t, loads)
		t.Logf("try %d: away for %v", try+1, away)
		if away < 2*time.Second {
			if late := lateFailures(failed, ended); len(late) > 0 {
				t.Errorf("connections begun after the end fail: %+v", late)
			}
			return
		}
	}
	t.Error("no new Envoy served within 2 s")
}
