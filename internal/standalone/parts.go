package standalone

import (
	"context"
	"sync"
)

// parts are the goroutines that a mesh consists of.
type parts struct {
	sync.WaitGroup
	// serving ends when the mesh is told to stop, or a part has failed.
	serving context.Context
	abort   context.CancelFunc
	failed  chan error // of the first part that has
}

func newParts(ctx context.Context) *parts {
	p := &parts{failed: make(chan error, 1)}
	p.serving, p.abort = context.WithCancel(ctx)
	return p
}

// add runs f until life ends.
func (p *parts) add(life context.Context, f func(context.Context) error) {
	p.Go(func() {
		if err := f(life); err != nil {
			select {
			case p.failed <- err:
			default:
			}
			p.abort()
		}
	})
}

// failure is the first part's, nil if none has failed.
func (p *parts) failure() error {
	select {
	case err := <-p.failed:
		return err
	default:
		return nil
	}
}
