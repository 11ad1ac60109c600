package daemon

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

// keptFiles is the Output of users' CiliumEnvoyConfigs that are valid: a file
// for each, so that the next agent of the node goes on with them where newer
// versions are not. A file may hold keys of certificates: it is root's alone.
type keptFiles struct{ dir string }

// fileOf is the file of a row.
func (o keptFiles) fileOf(key string) string {
	sum := sha256.Sum256([]byte(key))
	return filepath.Join(o.dir, hex.EncodeToString(sum[:])+".json")
}

// Update writes the file, if it does not say so already.
func (o keptFiles) Update(_ context.Context, row agent.KeptConfig) (struct{}, error) {
	text, err := json.Marshal(ciliumv2.CiliumEnvoyConfig{TypeMeta: metav1.TypeMeta{Kind: row.Ref.Kind}, ObjectMeta: *row.Meta, Spec: *row.Spec})
	if err != nil {
		return struct{}{}, fmt.Errorf("keep %s: %w", row.Ref, err)
	}
	name := o.fileOf(row.Key())
	if had, err := os.ReadFile(name); err == nil && bytes.Equal(had, text) {
		return struct{}{}, nil
	}
	if err := os.MkdirAll(o.dir, 0o700); err != nil {
		return struct{}{}, fmt.Errorf("keep %s: %w", row.Ref, err)
	}
	if err := os.WriteFile(name+".new", text, 0o600); err != nil {
		return struct{}{}, fmt.Errorf("keep %s: %w", row.Ref, err)
	}
	return struct{}{}, os.Rename(name+".new", name)
}

// Delete removes the file.
func (o keptFiles) Delete(_ context.Context, key string) error {
	if err := os.Remove(o.fileOf(key)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Prune removes the files of no row.
func (o keptFiles) Prune(_ context.Context, keys []string) error {
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
func (o keptFiles) files() []string {
	names, _ := filepath.Glob(filepath.Join(o.dir, "*")) // the pattern is well formed
	return names
}

// read gives what the files hold, by the rows' keys. One that cannot be read is
// left out: its object is as good as new then.
func (o keptFiles) read(log *slog.Logger) map[string]agent.KeptConfig {
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
