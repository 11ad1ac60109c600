// Command demo shows Waggle at work on this machine: two echo backends, a
// Gateway, and a route whose weights move under load without a failed
// request. `make demo` builds what it needs and runs it.
package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	source  = "examples/canary"
	gateway = "http://127.0.0.1:10080"
)

var backends = []string{"echo-1=127.0.0.1:18081", "echo-2=127.0.0.1:18082"}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := demo(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// demo is the whole show, in order.
func demo(ctx context.Context) error {
	if err := portsAreFree(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "waggle-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	manifests := filepath.Join(dir, "canary")
	if err := os.CopyFS(manifests, os.DirFS(source)); err != nil {
		return fmt.Errorf("copy %s: %w", source, err)
	}

	say("starting two echo backends and `waggle run` on a copy of %s", source)
	echo, err := start("bin/echo", backends...)
	if err != nil {
		return err
	}
	defer echo.stop()
	waggle, err := start("bin/waggle", "run", manifests, "--envoy", ".tools/envoy",
		"--port-offset", "10000", "--state-dir", filepath.Join(dir, "state"), "--log-level", "warn")
	if err != nil {
		return err
	}
	defer waggle.stop()
	if err := answers(ctx, waggle); err != nil {
		return err
	}

	say("400 requests to %s, weights 90 and 10", gateway)
	print(send(ctx, 400))

	say("editing the route to 50 and 50 while requests go on")
	during, err := editUnderLoad(ctx, filepath.Join(manifests, "route.yaml"))
	if err != nil {
		return err
	}
	fmt.Printf("    %d requests during the edit, %d failed\n", during.total(), during.failed)

	say("400 requests again")
	print(send(ctx, 400))
	if during.failed > 0 {
		return fmt.Errorf("%d requests failed, the last with: %s", during.failed, during.lastError)
	}
	say("stopping")
	if err := waggle.stop(); err != nil {
		return fmt.Errorf("waggle run: %w", err)
	}
	fmt.Print(goOn)
	return nil
}

const goOn = `
Go on by hand, in two terminals:
  bin/echo echo-1=127.0.0.1:18081 echo-2=127.0.0.1:18082
  bin/waggle run examples/canary --envoy .tools/envoy --port-offset 10000
and, in a third:
  curl -s http://127.0.0.1:10080/ | head -2     # which backend answered
  vi examples/canary/route.yaml                 # effective when saved
  bin/waggle status                             # listeners, routes, backends, Envoy's word
  bin/waggle analyze examples/canary            # what is wrong, without running it
`

func say(format string, args ...any) { fmt.Printf("==> "+format+"\n", args...) }

// portsAreFree says early, and in words, what would go wrong.
func portsAreFree() error {
	for _, b := range append([]string{"gateway=127.0.0.1:10080"}, backends...) {
		name, address, _ := strings.Cut(b, "=")
		l, err := net.Listen("tcp", address)
		if err != nil {
			return fmt.Errorf("%s needs %s: %w", name, address, err)
		}
		l.Close()
	}
	return nil
}

// process is a child that is stopped by an interrupt.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

func start(program string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(program, args...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = os.Stdout, os.Stderr
	// A process group of its own: Ctrl-C goes to the demo, which stops the
	// children in order.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	go func() { p.err = p.cmd.Wait(); close(p.done) }()
	return p, nil
}

func (p *process) stop() error {
	p.cmd.Process.Signal(os.Interrupt)
	select {
	case <-p.done:
	case <-time.After(20 * time.Second):
		p.cmd.Process.Kill()
		<-p.done
	}
	return p.err
}

// answers waits until the gateway does.
func answers(ctx context.Context, waggle *process) error {
	deadline := time.After(30 * time.Second)
	for {
		if r, err := http.Get(gateway); err == nil {
			r.Body.Close()
			if r.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-waggle.done:
			return fmt.Errorf("waggle run ended early: %w", waggle.err)
		case <-deadline:
			return fmt.Errorf("%s does not answer", gateway)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
