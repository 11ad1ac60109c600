package cluster

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/waggle-mesh/waggle/test/nodes"
)

// Process is a running program.
type Process struct {
	name string
	cmd  *exec.Cmd
	log  string
	gone chan struct{} // closed when it has ended
}

// start starts a program on a machine, until the benchmark's end. What it
// writes is shown if the benchmark fails.
func (c *Cluster) start(m *nodes.Machine, cgroup, name string, cmd *exec.Cmd) (*Process, error) {
	p := &Process{name: name, cmd: cmd, log: filepath.Join(c.dir, name+".log"), gone: make(chan struct{})}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := m.Start(cmd, cgroup); err != nil {
		return nil, err
	}
	go func() {
		cmd.Wait()
		close(p.gone)
	}()
	c.t.Cleanup(func() {
		p.Kill()
		if c.t.Failed() {
			c.t.Error(p.lastWords())
		}
	})
	return p, nil
}

// PID is the program's.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Stop asks the program to end and waits until it has, for a while.
func (p *Process) Stop() {
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.gone:
	case <-time.After(20 * time.Second):
		p.Kill()
	}
}

// Kill ends the program.
func (p *Process) Kill() {
	p.cmd.Process.Kill()
	<-p.gone
}

// alive is an error where the program has ended.
func (p *Process) alive() error {
	select {
	case <-p.gone:
		return fmt.Errorf("%s has ended: %s", p.name, p.lastWords())
	default:
		return nil
	}
}

func (p *Process) lastWords() string {
	text, _ := os.ReadFile(p.log)
	return fmt.Sprintf("%s wrote:\n%s", p.name, tail(text, 1500))
}

func tail(text []byte, most int) []byte { return text[max(0, len(text)-most):] }
