package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// The second agent waits for the first and is told who it is; it gives up when
// it is told to.
func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.lock")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	first, err := lock(ctx, path, func(string) { t.Error("the first waits") })
	if err != nil {
		t.Fatal(err)
	}
	waiting := make(chan string, 1)
	got := make(chan error, 1)
	go func() {
		second, err := lock(ctx, path, func(holder string) { waiting <- holder })
		if err == nil {
			err = second.Close()
		}
		got <- err
	}()
	if holder := <-waiting; holder != fmt.Sprint(os.Getpid()) {
		t.Errorf("it waits for %q", holder)
	}
	select {
	case err := <-got:
		t.Fatalf("the second has not waited: %v", err)
	default:
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Error(err)
	}

	held, err := lock(ctx, path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if _, err := lock(ctx, path, func(string) { cancel() }); !errors.Is(err, context.Canceled) {
		t.Errorf("told to stop, it says %v", err)
	}
}
