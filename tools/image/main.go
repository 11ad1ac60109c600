// Command image makes Waggle's container image without a container engine:
//
//	image -o waggle-image.tar -tag ghcr.io/waggle-mesh/waggle:0.1.0 -waggle bin/waggle -plugin bin/waggle-cni -envoy .tools/envoy
//
// The archive is what "docker load", "ctr images import" and "crane push"
// read. A Dockerfile beside it says the same for those who have an engine.
//
//	layer 1  Envoy, the libraries it is linked with, /etc/passwd, /tmp
//	layer 2  /usr/bin/waggle, waggle-cni, and cilium, cilium-dbg, cilium-agent beside it
//
// Equal files make an equal image.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

func main() {
	var o options
	flag.StringVar(&o.out, "o", "waggle-image.tar", "write the archive to this `file`")
	flag.StringVar(&o.tag, "tag", "ghcr.io/waggle-mesh/waggle:dev", "`reference` of the image")
	flag.StringVar(&o.waggle, "waggle", "bin/waggle", "waggle's `program`, linked statically")
	flag.StringVar(&o.plugin, "plugin", "bin/waggle-cni", "the CNI plugin's `program`, linked statically")
	flag.StringVar(&o.envoy, "envoy", ".tools/envoy", "Envoy's `program`")
	flag.Parse()
	if err := o.run(); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

type options struct{ out, tag, waggle, plugin, envoy string }

func (o options) run() error {
	ref, err := name.NewTag(o.tag)
	if err != nil {
		return fmt.Errorf("read -tag: %w", err)
	}
	if err := errors.Join(static(o.waggle), static(o.plugin)); err != nil {
		return err
	}
	base, err := envoyLayer(o.envoy)
	if err != nil {
		return err
	}
	own, err := waggleLayer(o.waggle, o.plugin)
	if err != nil {
		return err
	}
	image, err := mutate.AppendLayers(empty.Image, base, own)
	if err != nil {
		return err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", runtime.GOARCH
	config.Config = v1.Config{
		Entrypoint: []string{"/usr/bin/waggle"},
		Env:        []string{"PATH=/usr/bin"},
		Labels:     map[string]string{"org.opencontainers.image.source": "https://github.com/waggle-mesh/waggle", "org.opencontainers.image.licenses": "Apache-2.0"},
	}
	if image, err = mutate.ConfigFile(image, config); err != nil {
		return err
	}
	if err := tarball.WriteToFile(o.out, ref, image); err != nil {
		return fmt.Errorf("write %s: %w", o.out, err)
	}
	size, err := os.Stat(o.out)
	if err != nil {
		return err
	}
	fmt.Printf("%s: %s, %d MB\n", filepath.Clean(o.out), ref, size.Size()>>20)
	return nil
}
