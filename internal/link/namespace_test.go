package link

import (
	"os"
	"sync"
	"testing"
)

// TestFirstThreadStays: however many threads are in namespaces, the process as
// the kernel shows it is in its own.
func TestFirstThreadStays(t *testing.T) {
	pod := newNamespace(t)
	was, err := os.Readlink("/proc/thread-self/ns/net") // as all threads that tests run on
	if err != nil {
		t.Fatal(err)
	}
	var inside, done sync.WaitGroup
	out := make(chan struct{})
	const many = 100 // at once, so that they take every thread that waits for work
	inside.Add(many)
	for range many {
		done.Go(func() {
			err := within(pod, func() error {
				inside.Done()
				<-out
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	inside.Wait()
	if is, err := os.Readlink("/proc/self/ns/net"); err != nil || is != was {
		t.Errorf("the process is in %s, was in %s, error %v", is, was, err)
	}
	close(out)
	done.Wait()
}
