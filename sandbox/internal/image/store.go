// Package image builds container images without a container engine and serves
// them to the nodes under any reference.
//
// The store is a folder: blobs/<sha256>, and refs/<escaped reference> that holds
// the digest of the reference's manifest. The tag "*" stands for every tag. A
// store is shared by all sandboxes of a machine and outlives them; writing to it
// while it is served is safe.
//
// https://github.com/opencontainers/image-spec
// https://github.com/opencontainers/distribution-spec
package image

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

const (
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	configType   = "application/vnd.oci.image.config.v1+json"
	layerType    = "application/vnd.oci.image.layer.v1.tar+gzip"
)

// Image is one image of one layer.
type Image struct {
	Refs       []string // references it is served under
	Tree       string   // folder whose content becomes the root; empty: none
	Files      []File   // put over it
	Entrypoint []string
	Cmd        []string
	Env        []string // NAME=VALUE, beside PATH
}

// Has tells whether a reference is in the store, by itself or under any tag.
func Has(store, ref string) bool {
	_, err := resolve(store, Normal(ref))
	return err == nil
}

// resolve finds the digest of a full reference's manifest.
func resolve(store, ref string) (string, error) {
	b, err := os.ReadFile(refFile(store, ref))
	if errors.Is(err, fs.ErrNotExist) {
		b, err = os.ReadFile(refFile(store, AnyTag(ref)))
	}
	return string(b), err
}

type descriptor struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int64  `json:"size"`
}

// Write builds the image and puts it under its references. It returns the
// digest of its manifest; the same content gives the same digest.
func (i Image) Write(store string) (string, error) {
	if err := prepare(store); err != nil {
		return "", err
	}
	layer, diffID, err := i.writeLayer(store)
	if err != nil {
		return "", fmt.Errorf("build image %s: %w", i.Refs[0], err)
	}
	type m = map[string]any
	config, err := putJSON(store, configType, m{
		"architecture": runtime.GOARCH, "os": "linux",
		"config": m{
			"Entrypoint": i.Entrypoint, "Cmd": i.Cmd, "WorkingDir": "/",
			"Env": append([]string{"PATH=/:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, i.Env...),
		},
		"rootfs": m{"type": "layers", "diff_ids": []string{diffID}},
	})
	if err != nil {
		return "", err
	}
	return putManifest(store, i.Refs, config, []descriptor{layer})
}

// prepare makes the folders of a store that may be new.
func prepare(store string) error {
	return errors.Join(os.MkdirAll(filepath.Join(store, "blobs"), 0o755), os.MkdirAll(filepath.Join(store, "refs"), 0o755))
}

// putManifest names an image by references, and returns its digest.
func putManifest(store string, refs []string, config descriptor, layers []descriptor) (string, error) {
	manifest, err := putJSON(store, manifestType, map[string]any{
		"schemaVersion": 2, "mediaType": manifestType, "config": config, "layers": layers,
	})
	if err != nil {
		return "", err
	}
	for _, r := range refs {
		if err := writeAtomic(refFile(store, Normal(r)), []byte(manifest.Digest)); err != nil {
			return "", err
		}
	}
	return manifest.Digest, nil
}

func putJSON(store, mediaType string, v any) (descriptor, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return descriptor{}, err
	}
	d := descriptor{mediaType, fmt.Sprintf("sha256:%x", sha256.Sum256(b)), int64(len(b))}
	return d, writeAtomic(blobFile(store, d.Digest), b)
}

func writeAtomic(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if _, err := f.Write(b); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// blobWriter is a blob on its way to the store: its name is known at the end.
type blobWriter struct {
	io.Writer
	file *os.File
	sum  interface{ Sum([]byte) []byte }
}

func newBlobWriter(store string) (*blobWriter, error) {
	f, err := os.CreateTemp(filepath.Join(store, "blobs"), ".new")
	if err != nil {
		return nil, err
	}
	h := sha256.New()
	return &blobWriter{io.MultiWriter(f, h), f, h}, nil
}

// finish puts the blob into the store.
func (w *blobWriter) finish(store, mediaType string) (descriptor, error) {
	st, err := w.file.Stat()
	if err != nil {
		return descriptor{}, err
	}
	d := descriptor{mediaType, fmt.Sprintf("sha256:%x", w.sum.Sum(nil)), st.Size()}
	if err := w.file.Close(); err != nil {
		return descriptor{}, err
	}
	return d, os.Rename(w.file.Name(), blobFile(store, d.Digest))
}

func (w *blobWriter) abandon() {
	w.file.Close()
	os.Remove(w.file.Name())
}
