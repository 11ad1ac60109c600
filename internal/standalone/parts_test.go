package standalone

import (
	"context"
	"errors"
	"testing"
)

// TestFailedPart: who waits for Envoy to start learns at once that a part has
// failed, and which failed first.
func TestFailedPart(t *testing.T) {
	life, end := context.WithCancel(context.Background())
	p := newParts(context.Background())
	broken := errors.New("broken")
	p.add(life, func(ctx context.Context) error { <-ctx.Done(); return nil })
	p.add(life, func(context.Context) error { return broken })
	<-p.serving.Done()
	end()
	p.Wait()
	if err := p.failure(); !errors.Is(err, broken) {
		t.Errorf("failure %v", err)
	}

	p = newParts(context.Background())
	p.add(life, func(context.Context) error { return nil })
	p.Wait()
	if p.serving.Err() != nil || p.failure() != nil {
		t.Error("a part that has ended in peace stops the mesh")
	}
	p.abort()
}
