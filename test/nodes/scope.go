package nodes

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
)

// Scoped lets a program that is no test make grounds: f gets what New and its
// kin ask for. What f has made is gone when Scoped returns, which gives what
// f and the clearing called errors.
func Scoped(ctx context.Context, f func(t testing.TB)) error {
	s := &scope{}
	s.ctx, s.cancel = context.WithCancel(ctx)
	s.run(func() { f(s) })
	s.cancel()
	for len(s.cleanups) > 0 {
		last := s.cleanups[len(s.cleanups)-1]
		s.cleanups = s.cleanups[:len(s.cleanups)-1]
		s.run(last)
	}
	return errors.Join(s.errs...)
}

// scope is what a ground needs of a test.
type scope struct {
	testing.TB // nil: for the method that keeps others from being one
	ctx        context.Context
	cancel     context.CancelFunc

	mu       sync.Mutex
	cleanups []func()
	errs     []error
}

// run calls f on a goroutine, which Fatal ends.
func (s *scope) run(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	<-done
}

func (s *scope) fail(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.errs = append(s.errs, errors.New(text))
}

func (s *scope) Context() context.Context { return s.ctx }
func (s *scope) Helper()                  {}
func (s *scope) Name() string             { return "scope" }
func (s *scope) Log(...any)               {}
func (s *scope) Logf(string, ...any)      {}

func (s *scope) Error(args ...any)                 { s.fail(fmt.Sprint(args...)) }
func (s *scope) Errorf(format string, args ...any) { s.fail(fmt.Sprintf(format, args...)) }

func (s *scope) Fatal(args ...any) {
	s.Error(args...)
	runtime.Goexit()
}

func (s *scope) Fatalf(format string, args ...any) {
	s.Errorf(format, args...)
	runtime.Goexit()
}

func (s *scope) Failed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.errs) > 0
}

func (s *scope) Cleanup(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cleanups = append(s.cleanups, f)
}
