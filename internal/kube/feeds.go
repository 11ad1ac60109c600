package kube

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Feeds are the reflectors that write into the tables of one graph. What they
// bring waits until the graph's owner calls Apply.
type Feeds struct {
	client *Client
	log    *slog.Logger
	feeds  []feed
	wake   chan struct{}
	patience

	mu    sync.Mutex
	queue []func()

	touched []func() // for Committed; the graph's owner's
}

// feed is what Feeds needs to know of one Source.
type feed interface {
	run(ctx context.Context)
	status() KindStatus
}

// KindStatus says how the feed of a kind does.
type KindStatus struct {
	Kind    string `json:"kind"`
	Only    string `json:"only,omitempty"` // by which labels its objects are selected
	Objects int    `json:"objects"`
	// Synced: all objects have been read once, or there is no such kind.
	Synced bool `json:"synced"`
	// Missing: the API server does not have the kind.
	Missing bool `json:"missing,omitempty"`
	// Error is why the feed stands still; empty: it does not.
	Error string `json:"error,omitempty"`
	// Forbidden: nothing has been heard for long but that this process may not
	// read the kind.
	Forbidden bool `json:"forbidden,omitempty"`
	// Since is when Missing or Error began.
	Since time.Time `json:"since,omitzero"`
}

// NewFeeds makes Feeds with no kind in it.
func NewFeeds(c *Client, log *slog.Logger) *Feeds {
	return &Feeds{client: c, log: log, wake: make(chan struct{}, 1), patience: usual}
}

// Run feeds until ctx ends.
func (f *Feeds) Run(ctx context.Context) {
	var all sync.WaitGroup
	for _, s := range f.feeds {
		all.Go(func() { s.run(ctx) })
	}
	all.Wait()
}

// Wake gets a value when there is something to Apply.
func (f *Feeds) Wake() <-chan struct{} { return f.wake }

// Apply writes into the tables what has come; the graph's owner calls it.
func (f *Feeds) Apply() {
	f.mu.Lock()
	queue := f.queue
	f.queue = nil
	f.mu.Unlock()
	for _, change := range queue {
		change()
	}
}

// Committed looks at the rows of what Apply has brought, see Keep; the graph's
// owner calls it when the graph has been committed.
func (f *Feeds) Committed() {
	for _, look := range f.touched {
		look()
	}
	f.touched = nil
}

// Synced tells whether Apply has brought every kind's objects.
func (f *Feeds) Synced() bool {
	for _, s := range f.feeds {
		if !s.status().Synced {
			return false
		}
	}
	return true
}

// Kinds says how each feed does, in the order in which they were added.
func (f *Feeds) Kinds() []KindStatus {
	out := make([]KindStatus, 0, len(f.feeds))
	for _, s := range f.feeds {
		out = append(out, s.status())
	}
	return out
}

func (f *Feeds) push(changes ...func()) {
	if len(changes) == 0 {
		return
	}
	f.mu.Lock()
	f.queue = append(f.queue, changes...)
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default:
	}
}
