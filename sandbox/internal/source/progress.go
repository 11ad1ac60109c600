package source

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// progress writes lines of things that go on at the same time.
type progress struct {
	mu  sync.Mutex
	out io.Writer
}

func (p *progress) printf(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.out, format+"\n", args...)
}

// step tells when something begins, and how long it took.
func (p *progress) step(what string, do func() error) error {
	start := time.Now()
	p.printf("%s ...", what)
	if err := do(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	p.printf("%s: done in %.1fs", what, time.Since(start).Seconds())
	return nil
}

// command runs a program in a folder and returns what it printed on its standard
// output. lines, unless nil, counts the lines of its standard error. It dies
// with this process, and with all its children when ctx ends.
func command(ctx context.Context, dir string, env []string, lines *atomic.Int64, argv ...string) (string, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	var out strings.Builder
	cmd.Stdout = &out
	stderr, w := io.Pipe()
	cmd.Stderr = w
	var last []string
	read := make(chan struct{})
	go func() {
		defer close(read)
		s := bufio.NewScanner(stderr)
		for s.Scan() {
			if lines != nil {
				lines.Add(1)
			}
			last = append(last, s.Text())
			last = last[max(0, len(last)-20):]
		}
		_, _ = io.Copy(io.Discard, stderr)
	}()
	runtime.LockOSThread() // the kernel ties Pdeathsig to the thread
	err := cmd.Run()
	runtime.UnlockOSThread()
	w.Close()
	<-read
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s", strings.Join(argv, " "), err, strings.Join(last, "\n"))
		if errors.Is(err, exec.ErrNotFound) {
			err = fmt.Errorf("%s is not installed: %w", argv[0], err)
		}
	}
	return out.String(), err
}

// goBuild compiles a Go program, telling how far it is every now and then.
func (b *Builder) goBuild(ctx context.Context, what, dir, pkg, ldflags, dest string) error {
	return b.step("build "+what, func() error {
		var total int
		if list, err := command(ctx, dir, goEnv, nil, "go", "list", "-deps", pkg); err == nil {
			total = strings.Count(list, "\n")
		}
		var compiled atomic.Int64
		done := make(chan struct{})
		defer close(done)
		go func() {
			start := time.Now()
			for {
				select {
				case <-done:
					return
				case <-time.After(15 * time.Second):
					b.printf("build %s: %.0fs, %d of at most %d packages compiled", what, time.Since(start).Seconds(), compiled.Load(), total)
				}
			}
		}()
		tmp := dest + ".new"
		_, err := command(ctx, dir, goEnv, &compiled, "go", "build", "-v", "-trimpath", "-ldflags", "-s -w "+ldflags, "-o", tmp, pkg)
		if err != nil {
			return err
		}
		return os.Rename(tmp, dest)
	})
}

// goEnv makes static programs that do not depend on the caller's workspace.
var goEnv = []string{"CGO_ENABLED=0", "GOWORK=off"}
