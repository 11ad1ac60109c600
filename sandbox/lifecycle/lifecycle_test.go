package lifecycle

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestTenCycles(t *testing.T) {
	b := newBox(t, "cycles")
	for i := range 10 {
		begin := time.Now()
		b.run("up", "-nodes", "3")
		up := time.Since(begin)
		if i == 0 {
			b.works() // with a pod running
		}
		begin = time.Now()
		b.run("down")
		t.Logf("cycle %d: up %.1fs, down %.1fs", i+1, up.Seconds(), time.Since(begin).Seconds())
		b.nothingLeft()
	}
}

// A supervisor that is killed leaves a cluster half made: the next one comes up.
func TestKilledAtAnyMoment(t *testing.T) {
	b := newBox(t, "killed")
	for range 10 {
		moment := time.Duration(rand.Float64() * float64(7*time.Second))
		cmd := b.command("up", "-nodes", "2")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(moment)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		b.remember()
		t.Logf("kill -9 after %s, with %d members running", moment.Round(time.Millisecond), len(b.members()))
		b.run("up", "-nodes", "2")
		b.works()
		b.run("down")
		b.nothingLeft()
	}
}

// A supervisor that is asked to end takes all with it.
func TestInterrupted(t *testing.T) {
	b := newBox(t, "signals")
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		for _, moment := range []time.Duration{300 * time.Millisecond, time.Second, 3 * time.Second} {
			cmd := b.command("up")
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(moment)
			_ = cmd.Process.Signal(s)
			b.remember()
			_ = cmd.Wait()
			b.nothingLeft()
			if t.Failed() {
				t.Fatalf("%s after %s", s, moment)
			}
		}
	}
}

func TestMemberKilled(t *testing.T) {
	b := newBox(t, "members")
	b.run("up", "-nodes", "2", "-node-grace", "10s")
	b.run("kill", "n2")
	b.run("kubectl", "wait", "--for=condition=Ready=Unknown", "node/n2", "--timeout=30s") // 50 s, were it Kubernetes' own
	b.run("start", "n2")
	b.run("wait")
	if ready := b.run("kubectl", "get", "node", "n2", "-o", `jsonpath={.status.conditions[?(@.type=="Ready")].status}`); ready != "True" {
		t.Errorf("after wait, Ready of n2 is %s", ready)
	}
	b.run("kill", "n2")
	b.run("start", "n2")
	b.run("wait") // the API server has not noticed that it was away
	b.run("exec", "n2", "curl", "-sSf", "http://127.0.0.1:10248/healthz")
	b.run("kill", "cp")
	b.run("start", "cp")
	b.works()
	if out := b.run("up", "-nodes", "2", "-node-grace", "10s"); !strings.Contains(out, "already up") {
		t.Errorf("a second up: %s", out)
	}
	b.run("kill", "n1")
	if out := b.run("up", "-nodes", "2", "-node-grace", "10s"); !strings.Contains(out, "up in") {
		t.Errorf("up of a sandbox that lacks a node: %s", out)
	}
	b.works()
	b.run("down")
	b.nothingLeft()
}

// Whoever answers ARP for a LoadBalancer address gets what is sent to it.
func TestAnnounced(t *testing.T) {
	b := newBox(t, "announced")
	b.run("up", "-nodes", "2", "-lb-mode", "announced", "-lb-cidr", "172.18.77.0/24")
	b.run("exec", "n2", "ip", "address", "add", "172.18.77.140/32", "dev", "eth0")
	url := "http://172.18.77.140:10256/healthz" // kube-proxy's, on every address of its node
	b.run("exec", "ext", "curl", "-sSf", "-m", "10", url)
	if out, err := exec.Command("curl", "-sSf", "-m", "10", url).CombinedOutput(); err != nil {
		t.Errorf("from the machine: %v %s", err, out)
	}
}

// Ending a program brings it back; stopping it keeps it away.
func TestPrograms(t *testing.T) {
	b := newBox(t, "programs")
	b.run("up", "-nodes", "1")
	b.run("stop-apiserver")
	if out, err := b.attempt("kubectl", "get", "nodes"); err == nil {
		t.Errorf("the API server answers although it is stopped: %s", out)
	}
	b.run("start-apiserver")
	b.works()
	b.run("exec", "n1", "sh", "-c", "kill -9 $(pidof containerd)")
	b.works()
	if out := b.run("exec", "n1", "sh", "-c", "echo $HOME $(hostname)"); out != "/ n1\n" {
		t.Errorf("home and host name on n1: %q", out)
	}
	if out := b.run("status"); !strings.Contains(out, "containerd of n1: running, ended 1 times signal: killed") {
		t.Errorf("status does not tell that containerd has ended:\n%s", out)
	}
	if out, err := b.attempt("stop-program", "n1", "nosuch"); err == nil || !strings.Contains(out, "has no program nosuch") {
		t.Errorf("stop of an unknown program: %v %s", err, out)
	}
}

// Gates and flags reach the programs they are meant for.
func TestSettings(t *testing.T) {
	b := newBox(t, "settings")
	b.run("up", "-nodes", "1", "-feature-gates", "LoggingAlphaOptions=true,LoggingBetaOptions=true", "-flag", "kubelet=--max-pods=7", "-flag", "kube-apiserver=--v=3")
	if pods := b.run("kubectl", "get", "node", "n1", "-o", "jsonpath={.status.capacity.pods}"); pods != "7" {
		t.Errorf("n1 takes %s pods", pods)
	}
	for program, url := range map[string]string{"kube-apiserver": "/metrics", "kubelet": "/api/v1/nodes/n1/proxy/metrics"} {
		if out := b.run("kubectl", "get", "--raw", url); !strings.Contains(out, `kubernetes_feature_enabled{name="LoggingAlphaOptions",stage="ALPHA"} 1`) {
			t.Errorf("the gate is not open in %s", program)
		}
	}
	if out := b.run("logs", "cp", "kube-apiserver"); !strings.Contains(out, `--v="3"`) {
		t.Error("kube-apiserver did not get its flag")
	}
}

// Two users, two sandboxes: names are all that must differ. Two users, one
// sandbox: they take turns.
func TestTwoAtOnce(t *testing.T) {
	one, two := newBox(t, "one"), newBox(t, "two")
	var ups []*exec.Cmd
	for _, b := range []*box{one, two, one} {
		cmd := b.command("up", "-nodes", "1")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ups = append(ups, cmd)
	}
	for _, cmd := range ups {
		if err := cmd.Wait(); err != nil {
			t.Fatalf("%s: %v", cmd, err)
		}
	}
	one.works()
	two.works()
	one.run("down")
	one.nothingLeft()
	two.works()
}

// Two users, one name, two folders: the second is refused and the first one's
// cluster goes on.
func TestNameTaken(t *testing.T) {
	first, second := newBox(t, "taken"), newBox(t, "free")
	first.run("up", "-nodes", "1")
	for _, command := range []string{"up", "down"} {
		out, err := second.attempt("-name", "taken", command)
		if err == nil || !strings.Contains(out, "a sandbox of this name runs from "+first.dir) {
			t.Errorf("%s: %v %s", command, err, out)
		}
	}
	first.works()
	second.nothingLeft()
}

// A machine that cannot run it says why, before anything is started.
func TestRefusals(t *testing.T) {
	b := newBox(t, "refused")
	for what, c := range map[string]struct {
		args []string
		want string
	}{
		"name":     {[]string{"-name", "much-too-long-a-name", "up"}, "must have 1 to 11 characters"},
		"overlap":  {[]string{"up", "-lb-cidr", "127.0.0.0/8"}, "overlap"},
		"families": {[]string{"up", "-ip-families", "ipv5"}, "must be ipv4, ipv6"},
		"nodes":    {[]string{"up", "-nodes", "0"}, "-nodes 0"},
		"dir":      {[]string{"-dir", "/var/sandbox", "up"}, "must not be under /var/"},
		"conf":     {[]string{"up", "-cni-conf", "nosuchfile"}, "nosuchfile"},
		"images":   {[]string{"up", "-images", "some"}, "-images some"},
		"command":  {[]string{"exec", "n1", "true"}, "no sandbox is up"},
	} {
		out, err := b.attempt(c.args...)
		if err == nil || !strings.Contains(out, c.want) {
			t.Errorf("%s: %v, want %q in:\n%s", what, err, c.want, out)
		}
	}
	file, _ := program()
	weak := exec.Command("capsh", "--drop=cap_sys_admin", "--", "-c", file+" -name refused -dir "+b.dir+" up")
	if out, _ := weak.CombinedOutput(); !strings.Contains(string(out), "root here lacks CAP_SYS_ADMIN") {
		t.Errorf("without a capability: %s", out)
	}
	b.nothingLeft()
}

// A disk that is too small is named; one that fills up later does not keep
// anything from being taken down.
func TestFullDisk(t *testing.T) {
	b := newBox(t, "full")
	disk := filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(disk, 0o755); err != nil {
		t.Fatal(err)
	}
	mount := func(size string) {
		t.Helper()
		if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+size, "full", disk).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	b.dir = filepath.Join(disk, "state")
	mount("16m")
	out, err := b.attempt("up")
	if err == nil || !strings.Contains(out, "are needed") {
		t.Errorf("up on a small disk: %v %s", err, out)
	}
	exec.Command("umount", disk).Run()

	mount("600m")
	defer exec.Command("umount", disk).Run()
	b.run("up", "-nodes", "1")
	_ = exec.Command("dd", "if=/dev/zero", "of="+filepath.Join(disk, "filler"), "bs=1M").Run() // ends when the disk is full
	b.run("down")
	b.nothingLeft()
}

// A bring-up that fails says which member's program is the reason, with the
// last lines of its log, and leaves nothing.
func TestDiagnosis(t *testing.T) {
	b := newBox(t, "broken")
	out, err := b.attempt("up", "-nodes", "1", "-flag", "kubelet=--no-such-flag=1")
	if err == nil {
		t.Fatal("came up with a kubelet that cannot start")
	}
	for _, want := range []string{"kubelet of member n1 has ended", "last lines of kubelet of member n1", "unknown flag: --no-such-flag"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
	b.nothingLeft()
}
