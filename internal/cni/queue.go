package cni

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// queue is deletions that the agent was not there for: a folder beside its
// socket, with an empty file for each attachment, named by its key.
type queue struct{ dir string }

func queueOf(socket string) queue { return queue{filepath.Join(filepath.Dir(socket), "deletions")} }

// put is the plugin's.
func (q queue) put(key string) error {
	if err := os.MkdirAll(q.dir, 0o700); err != nil {
		return fmt.Errorf("queue deletion of %s: %w", key, err)
	}
	if err := os.WriteFile(filepath.Join(q.dir, key), nil, 0o600); err != nil {
		return fmt.Errorf("queue deletion of %s: %w", key, err)
	}
	return nil
}

// keys are what is to be deleted.
func (q queue) keys() ([]string, error) {
	files, err := os.ReadDir(q.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read queued deletions: %w", err)
	}
	var keys []string
	for _, f := range files {
		keys = append(keys, f.Name())
	}
	return keys, nil
}

// drop forgets a deletion, because it was made or is no longer meant.
func (q queue) drop(key string) error {
	if err := os.Remove(filepath.Join(q.dir, key)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget queued deletion: %w", err)
	}
	return nil
}
