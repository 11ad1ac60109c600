package standalone_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/waggle-mesh/waggle/internal/standalone"
)

// patience is how long anything may take that should take no time.
const patience = 20 * time.Second

// mesh is a running `waggle run`: in this process, or another's.
type mesh struct {
	root     string // all that is below it is taken away in the end
	dir      string // of manifests
	stateDir string
	options  standalone.Options
	log      *record

	cancel context.CancelFunc
	done   chan error
}

// newMesh makes the folders of a mesh. Options lack what is the same for all.
func newMesh(o standalone.Options) (*mesh, error) {
	root, err := os.MkdirTemp("", "mesh") // short: UNIX sockets are in it
	if err != nil {
		return nil, err
	}
	m := &mesh{root: root, dir: filepath.Join(root, "manifests"), stateDir: filepath.Join(root, "state"), log: &record{}}
	if err := os.Mkdir(m.dir, 0o700); err != nil {
		return nil, err
	}
	if o.Envoy, err = envoyPath(); err != nil {
		return nil, err
	}
	o.Paths, o.StateDir, o.Version, o.Concurrency = []string{m.dir}, m.stateDir, "test", 1
	o.Out, o.Log = m.log, slog.New(slog.NewTextHandler(m.log, nil))
	m.options = o
	return m, nil
}

// startMesh runs a mesh in this process, and waits until it answers.
func startMesh(o standalone.Options) (*mesh, error) {
	m, err := newMesh(o)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	m.cancel, m.done = cancel, make(chan error, 1)
	go func() { m.done <- standalone.Run(ctx, m.options) }()
	err = m.await(func(s *standalone.Status) error {
		if s.Envoy.State != "LIVE" || !s.Envoy.Connected {
			return fmt.Errorf("envoy is %s", s.Envoy.State)
		}
		return nil
	})
	if err != nil {
		err = fmt.Errorf("start mesh: %w\n%s", err, m.log)
		m.stop()
		return nil, err
	}
	return m, nil
}

// stop ends the mesh, and says what it left behind.
func (m *mesh) stop() error {
	defer os.RemoveAll(m.root)
	m.cancel()
	if err := <-m.done; err != nil {
		return err
	}
	if left, _ := os.ReadDir(m.stateDir); len(left) > 0 {
		return fmt.Errorf("left behind in the state directory: %v", left)
	}
	return nil
}

// await polls the status until check has nothing to say against it.
func (m *mesh) await(check func(*standalone.Status) error) error {
	return poll(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		s, err := standalone.AskStatus(ctx, m.stateDir)
		if err != nil {
			return err
		}
		return check(s)
	})
}

// poll calls try until it succeeds, or patience ends with its last error.
func poll(try func() error) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		err := try()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not after %s: %w", patience, err)
		}
	}
}

// record keeps what is written to it.
type record struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if os.Getenv("WAGGLE_TEST_LOG") != "" {
		os.Stderr.Write(p)
	}
	return r.text.Write(p)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}
