package image

import (
	"archive/tar"
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

const plainLayerType = "application/vnd.oci.image.layer.v1.tar"

// Load puts an image into the store that "docker save" or a tool of its kind
// has written, under the references that the archive names.
// It returns them with the digest of the manifest.
func Load(store, archive string) (refs []string, digest string, err error) {
	if err := prepare(store); err != nil {
		return nil, "", err
	}
	f, err := os.Open(archive)
	if err != nil {
		return nil, "", err
	}
	defer f.Close()
	images, blobs, err := unpack(store, tar.NewReader(f))
	if err != nil {
		return nil, "", fmt.Errorf("read archive %s: %w", archive, err)
	}
	if len(images) != 1 || len(images[0].RepoTags) == 0 {
		return nil, "", fmt.Errorf("read archive %s: want one image with a reference in manifest.json, got %d", archive, len(images))
	}
	config, ok := blobs[images[0].Config]
	if !ok {
		return nil, "", fmt.Errorf("read archive %s: %s is not in it", archive, images[0].Config)
	}
	config.MediaType = configType
	layers := []descriptor{}
	for _, name := range images[0].Layers {
		layer, ok := blobs[name]
		if !ok {
			return nil, "", fmt.Errorf("read archive %s: %s is not in it", archive, name)
		}
		layers = append(layers, layer)
	}
	digest, err = putManifest(store, images[0].RepoTags, config, layers)
	return images[0].RepoTags, digest, err
}

// archived is one image of an archive's manifest.json, which names files.
type archived struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// unpack puts every file of an archive into the store.
func unpack(store string, in *tar.Reader) (images []archived, blobs map[string]descriptor, err error) {
	blobs = map[string]descriptor{}
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return images, blobs, nil
		}
		if err != nil {
			return nil, nil, err
		}
		switch {
		case h.Typeflag != tar.TypeReg:
		case h.Name == "manifest.json":
			if err := json.NewDecoder(in).Decode(&images); err != nil {
				return nil, nil, fmt.Errorf("manifest.json: %w", err)
			}
		default:
			if blobs[h.Name], err = putBlob(store, in); err != nil {
				return nil, nil, fmt.Errorf("%s: %w", h.Name, err)
			}
		}
	}
}

// putBlob stores a layer, or what will not be named as one.
func putBlob(store string, in io.Reader) (descriptor, error) {
	content := bufio.NewReader(in)
	mediaType := plainLayerType
	if magic, _ := content.Peek(2); string(magic) == "\x1f\x8b" {
		mediaType = layerType
	}
	blob, err := newBlobWriter(store)
	if err != nil {
		return descriptor{}, err
	}
	if _, err := io.Copy(blob, content); err != nil {
		blob.abandon()
		return descriptor{}, err
	}
	return blob.finish(store, mediaType)
}
