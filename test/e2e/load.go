package e2e

import (
	"bytes"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"
)

// Load is requests that go on in the background while the test does something.
type Load struct {
	source *Source
	cmd    *exec.Cmd
	stdin  io.Closer
	out    safeBuffer
	errs   bytes.Buffer
}

// Load begins to make requests and returns when the first has been answered.
// Stop ends it; so does the test's end.
func (s *Source) Load(r Request) *Load {
	s.t.Helper()
	l := &Load{source: s}
	l.cmd = exec.Command(s.argv[0], append(slices.Clone(s.argv[1:]), append([]string{"-until-eof"}, r.args()...)...)...)
	l.cmd.Stdout, l.cmd.Stderr = &l.out, &l.errs
	var err error
	if l.stdin, err = l.cmd.StdinPipe(); err != nil {
		s.t.Fatal(err)
	}
	if err := l.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { l.stdin.Close() })
	s.t.Eventually("load on "+r.URL+" begins", func() error {
		if len(l.out.copy()) == 0 {
			return io.ErrUnexpectedEOF
		}
		return nil
	})
	return l
}

// More waits for n requests that begin from now on, and returns those that have
// ended.
func (l *Load) More(n int) Responses {
	l.source.t.Helper()
	begin := time.Now()
	var more Responses
	l.source.t.Eventually(fmt.Sprintf("%d more requests", n), func() error {
		more = slices.DeleteFunc(l.parse(l.source.t), func(r Response) bool { return r.Start.Before(begin) })
		if len(more) < n {
			return fmt.Errorf("%d", len(more))
		}
		return nil
	})
	return more
}

// Stop ends the load and returns every request it made.
func (l *Load) Stop() Responses {
	l.source.t.Helper()
	l.stdin.Close()
	if err := l.cmd.Wait(); err != nil {
		l.source.t.Fatalf("load from %s: %v: %s", l.source.name, err, l.errs.String())
	}
	return l.parse(l.source.t)
}

// parse reads what has been written so far, but for a line that is not whole.
func (l *Load) parse(t testing.TB) Responses {
	text := l.out.copy()
	return parse(t, text[:bytes.LastIndexByte(text, '\n')+1])
}

// safeBuffer is written to by the command while the test reads it.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) copy() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Clone(s.b.Bytes())
}
