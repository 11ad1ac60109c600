package cni

import (
	"errors"
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"
)

// deadline tells when a test has waited long enough for something.
func deadline(t testing.TB) func() bool {
	t.Helper()
	end := time.Now().Add(time.Minute)
	return func() bool { return time.Now().After(end) }
}

// waitFor waits until a file is there.
func (n *node) waitFor(name string) {
	n.t.Helper()
	for end := deadline(n.t); !exists(n.in(name)); {
		if end() {
			n.t.Fatalf("no %s", name)
		}
	}
}

// TestAgentRestartsInTheMiddle of an ADD: the plugin says so, the next agent
// takes away the half and keeps the pod that runs.
func TestAgentRestartsInTheMiddle(t *testing.T) {
	n := newNode(t, dual)
	n.start()
	runs, half := n.pod("runs"), n.pod("half")
	if err := runs.add(); err != nil {
		t.Fatal(err)
	}
	n.write("hold", "")
	c := half.command("ADD", n.conf(""))
	added := make(chan error)
	go func() { _, err := outcome(c); added <- err }()
	n.waitFor("held")
	n.kill()
	if err := <-added; codeOf(err) != 11 {
		t.Errorf("add: %v", err)
	}
	n.remove("hold")
	n.start()
	if files, err := os.ReadDir(n.in("state/pods")); err != nil || len(files) != 1 {
		t.Errorf("%d pods, error %v, want the one that runs", len(files), err)
	}
	if err := runs.check(); err != nil {
		t.Error(err)
	}
	if err := half.add(); err != nil {
		t.Errorf("the runtime tries again: %v", err)
	}
	for _, p := range []*pod{runs, half} {
		if err := p.del(); err != nil {
			t.Error(err)
		}
	}
	if traces := n.left(); len(traces) > 0 {
		t.Errorf("left: %q", traces)
	}
}

// TestPluginDiesInTheMiddle of an ADD: the agent undoes it.
func TestPluginDiesInTheMiddle(t *testing.T) {
	n := newNode(t, dual)
	n.start()
	n.write("hold", "")
	c := n.pod("c1").command("ADD", n.conf(""))
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	n.waitFor("held")
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait()
	n.waitForNothing()
}

// TestTwoAgents: the second takes over when the first has ended, and then has
// all it had.
func TestTwoAgents(t *testing.T) {
	n := newNode(t, dual)
	n.start()
	p := n.pod("c1")
	if err := p.add(); err != nil {
		t.Fatal(err)
	}
	first := n.agent
	n.startUnready()
	if err := p.check(); err != nil {
		t.Errorf("by the first: %v", err)
	}
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait()
	if err := p.check(); err != nil {
		t.Errorf("by the second: %v", err)
	}
}

// TestBrokenState: files that are none of ours, or torn, do not stop the
// agent; devices that nobody remembers go.
func TestBrokenState(t *testing.T) {
	n := newNode(t, dual)
	n.start()
	runs, torn := n.pod("runs"), n.pod("torn")
	for _, p := range []*pod{runs, torn} {
		if err := p.add(); err != nil {
			t.Fatal(err)
		}
	}
	n.kill()
	n.write("state/pods/torn@eth0.json", "{")
	n.write("state/pods/other@eth0.json", `{"ID": 7, "Container": "x", "PodDevice": "eth0"}`)
	n.write("state/pods/.temporary", "")
	n.write("state/released", "{")
	n.start()
	if err := runs.check(); err != nil {
		t.Error(err)
	}
	files, err := os.ReadDir(n.in("state/pods"))
	if err != nil || len(files) != 1 {
		t.Errorf("%v, error %v", files, err)
	}
	if codeOf(torn.check()) != 3 {
		t.Error("the torn pod is known")
	}
	n.remove("attached/" + strconv.Itoa(n.strayProgram(runs)))
	if err := runs.del(); err != nil {
		t.Fatal(err)
	}
	if traces := n.left(); len(traces) > 0 {
		t.Errorf("left: %q", traces)
	}
}

// strayProgram is that of the pod that is not runs: with its file torn nobody
// knows which it is, and with its device the kernel drops it.
func (n *node) strayProgram(runs *pod) int {
	n.t.Helper()
	files, err := os.ReadDir(n.in("attached"))
	if err != nil || len(files) != 2 {
		n.t.Fatalf("programs %v, error %v", files, err)
	}
	a, err := readAttachment(n.in("state/pods/" + runs.container + "@eth0.json"))
	if err != nil {
		n.t.Fatal(err)
	}
	for _, f := range files {
		if index, err := strconv.Atoi(f.Name()); err == nil && index != a.Index {
			return index
		}
	}
	return 0
}

// rounds is how many pods TestStorm starts; make cni-storm does 2,000.
func rounds(t *testing.T) int {
	text := os.Getenv("WAGGLE_STORM")
	if text == "" {
		return 50
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("WAGGLE_STORM: %v", err)
	}
	return n
}

// TestStorm: pods start and end while plugins and the agent are killed at any
// moment. No two pods have one address, those that live through it keep their
// network, and nothing is left of the others.
func TestStorm(t *testing.T) {
	n := newNode(t, dual)
	n.start()
	var residents []*pod
	for i := range 3 {
		p := n.pod(fmt.Sprint("resident", i))
		if err := p.add(); err != nil {
			t.Fatal(err)
		}
		residents = append(residents, p)
	}
	s := &storm{node: n, owners: map[string]string{}}
	for _, p := range residents {
		s.live(p)
	}
	s.run(rounds(t))
	t.Logf("%d added, %d adds failed, %d plugins and %d agents killed", s.added, s.failed, s.plugins, s.agents)
	if s.added == 0 || s.plugins == 0 || s.agents == 0 {
		t.Error("nothing was tried")
	}
	for _, p := range residents {
		if err := p.check(); err != nil {
			t.Errorf("%s: %v", p.container, err)
		}
		if err := p.del(); err != nil {
			t.Error(err)
		}
	}
	n.kill()
	n.start()
	n.waitForNothing()
}

type storm struct {
	*node
	mu                             sync.Mutex
	owners                         map[string]string // of addresses of pods that live
	added, failed, plugins, agents int
}

func (s *storm) run(rounds int) {
	work, ended := make(chan int), make(chan struct{})
	var workers sync.WaitGroup
	for seed := range int64(4) {
		workers.Go(func() {
			r := rand.New(rand.NewSource(seed))
			for i := range work {
				s.round(r, i)
			}
		})
	}
	var killer sync.WaitGroup
	killer.Go(func() {
		r := rand.New(rand.NewSource(99))
		for {
			select {
			case <-ended:
				s.kill()
				s.start()
				return
			case <-time.After(time.Duration(100+r.Intn(900)) * time.Millisecond):
				s.kill()
				s.startUnready()
				s.agents++
				if r.Intn(4) > 0 { // else it may be killed while it starts
					_ = s.status()
				}
			}
		}
	})
	for i := range rounds {
		work <- i
	}
	close(work)
	workers.Wait()
	close(ended)
	killer.Wait()
}

// round is one pod's life, as a runtime lives it: DEL until it succeeds.
func (s *storm) round(r *rand.Rand, i int) {
	p := s.pod(fmt.Sprint("pod", i))
	err := s.mayKill(r, p.command("ADD", p.conf("")), p.parse)
	s.count(err == nil)
	if err == nil {
		s.live(p)
	}
	if r.Intn(4) == 0 {
		p.netns.Close() // the pod ends before its network
		p.netns = nil
	}
	s.dead(p)
	for end := deadline(s.t); ; {
		err := s.mayKill(r, p.command("DEL", p.conf("")), nil)
		if err == nil {
			break
		}
		if end() {
			s.t.Errorf("delete %s: %v", p.container, err)
			break
		}
	}
	if p.netns != nil {
		p.netns.Close()
	}
}

// mayKill runs a plugin, and kills one of three.
func (s *storm) mayKill(r *rand.Rand, c *exec.Cmd, parse func([]byte) error) error {
	if r.Intn(3) > 0 {
		stdout, err := outcome(c)
		if err == nil && parse != nil {
			err = parse(stdout)
		}
		return err
	}
	if err := c.Start(); err != nil {
		return err
	}
	timer := time.AfterFunc(time.Duration(r.Intn(60))*time.Millisecond, func() { _ = c.Process.Kill() })
	defer timer.Stop()
	s.mu.Lock()
	s.plugins++
	s.mu.Unlock()
	if err := c.Wait(); err != nil {
		return err
	}
	return errors.New("nobody has read its answer")
}

func (s *storm) count(added bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if added {
		s.added++
	} else {
		s.failed++
	}
}

func (s *storm) live(p *pod) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range p.addresses() {
		if other := s.owners[a]; other != "" {
			s.t.Errorf("%s has address %s of %s", p.container, a, other)
		}
		s.owners[a] = p.container
	}
}

func (s *storm) dead(p *pod) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for a, owner := range s.owners {
		if owner == p.container {
			delete(s.owners, a)
		}
	}
}
