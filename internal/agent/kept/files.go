// Package kept remembers on a node's disk what users' CiliumEnvoyConfigs last
// asked for when they were valid, so that the node's next agent goes on with
// that where newer versions are not.
package kept

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
	"github.com/waggle-mesh/waggle/internal/agent"
	"github.com/waggle-mesh/waggle/internal/envoyconfig"
	"github.com/waggle-mesh/waggle/internal/model"
)

// Files is the reconcile.Output that writes a file for each object. Files may
// hold keys of certificates: they are root's alone. What was written in the last
// minute before a power cut may be lost, which Read notices: syncs of a thousand
// files would keep a node that begins waiting.
type Files struct {
	Dir string // made with the first file
}

// fileOf is the file of a row.
func (o Files) fileOf(key string) string {
	sum := sha256.Sum256([]byte(key))
	return filepath.Join(o.Dir, hex.EncodeToString(sum[:])+".json")
}

// Update writes the file, if it does not say so already.
func (o Files) Update(_ context.Context, row agent.KeptConfig) (struct{}, error) {
	text, err := json.Marshal(ciliumv2.CiliumEnvoyConfig{TypeMeta: metav1.TypeMeta{Kind: row.Ref.Kind}, ObjectMeta: *row.Meta, Spec: *row.Spec})
	if err != nil {
		return struct{}{}, fmt.Errorf("keep %s: %w", row.Ref, err)
	}
	name := o.fileOf(row.Key())
	if had, err := os.ReadFile(name); err == nil && bytes.Equal(had, text) {
		return struct{}{}, nil
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return struct{}{}, fmt.Errorf("keep %s: %w", row.Ref, err)
	}
	if err := os.WriteFile(name+".new", text, 0o600); err != nil {
		return struct{}{}, fmt.Errorf("keep %s: %w", row.Ref, err)
	}
	return struct{}{}, os.Rename(name+".new", name)
}

// Delete removes the file.
func (o Files) Delete(_ context.Context, key string) error {
	if err := os.Remove(o.fileOf(key)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Prune removes the files of no row.
func (o Files) Prune(_ context.Context, keys []string) error {
	var wanted []string
	for _, key := range keys {
		wanted = append(wanted, o.fileOf(key))
	}
	slices.Sort(wanted)
	for _, name := range o.files() {
		if _, found := slices.BinarySearch(wanted, name); !found {
			if err := os.Remove(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// files are all that there are.
func (o Files) files() []string {
	names, _ := filepath.Glob(filepath.Join(o.Dir, "*")) // the pattern is well formed
	return names
}

// Read gives what the files hold, by the rows' keys. One that cannot be read is
// left out: its object is as good as new then.
func (o Files) Read(log *slog.Logger) map[string]agent.KeptConfig {
	out := map[string]agent.KeptConfig{}
	for _, name := range o.files() {
		text, err := os.ReadFile(name)
		var c ciliumv2.CiliumEnvoyConfig
		if err == nil {
			err = json.Unmarshal(text, &c)
		}
		if err != nil {
			log.Warn("read a CiliumEnvoyConfig that an earlier agent kept", "file", name, "error", err)
			continue
		}
		ref := model.Ref{Kind: c.Kind, Name: model.Name{Namespace: c.Namespace, Name: c.Name}}
		out[ref.Key()] = agent.KeptConfig{Object: envoyconfig.Object{Ref: ref, Meta: &c.ObjectMeta, Spec: &c.Spec}, Version: c.ResourceVersion}
	}
	return out
}
