package cli

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/waggle-mesh/waggle/sandbox/internal/cluster"
	"github.com/waggle-mesh/waggle/sandbox/internal/image"
)

func loadImage(ctx context.Context, o *options, args []string) (int, error) {
	return o.load(ctx, args, func(srcs []string) ([]image.File, error) {
		var files []image.File
		for _, s := range srcs {
			files = append(files, image.ParseFile(s))
		}
		return files, nil
	})
}

func loadProgram(ctx context.Context, o *options, args []string) (int, error) {
	return o.load(ctx, args, func(srcs []string) ([]image.File, error) {
		return image.Program("/"+filepath.Base(srcs[0]), srcs[0])
	})
}

func loadArchive(_ context.Context, o *options, args []string) (int, error) {
	refs, digest, err := image.Load(filepath.Join(o.cache, "images"), args[0])
	for _, r := range refs {
		fmt.Println(image.Normal(r), digest)
	}
	return 0, err
}

// load makes an image and, with -pull, has every running node pull it, which
// pods with imagePullPolicy Never need.
func (o *options) load(ctx context.Context, args []string, files func([]string) ([]image.File, error)) (int, error) {
	f := flag.NewFlagSet("load-image", flag.ContinueOnError)
	pull := f.Bool("pull", false, "have every node pull it now, for imagePullPolicy Never")
	if err := f.Parse(args); err != nil {
		return 0, flag.ErrHelp
	}
	if f.NArg() < 2 {
		return 0, fmt.Errorf("want references and files, got %q", f.Args())
	}
	img := image.Image{Refs: strings.Split(f.Arg(0), ",")}
	var err error
	if img.Files, err = files(f.Args()[1:]); err != nil {
		return 0, err
	}
	img.Entrypoint = []string{img.Files[0].Dest}
	digest, err := img.Write(filepath.Join(o.cache, "images"))
	if err != nil {
		return 0, err
	}
	for _, r := range img.Refs {
		fmt.Println(image.Normal(r), digest)
	}
	if !*pull {
		return 0, nil
	}
	p, err := o.running()
	if err != nil {
		return 0, err
	}
	for _, n := range p.Nodes() {
		for _, r := range img.Refs {
			cmd := cluster.ExecCommand(ctx, n.Name, o.dir, "ctr", "-n", "k8s.io", "images", "pull", "--hosts-dir", "/etc/containerd/certs.d", image.Normal(r))
			cmd.Stderr = os.Stderr
			if err := cmd.Run(); err != nil {
				return 0, fmt.Errorf("pull %s on %s: %w", r, n.Name, err)
			}
		}
	}
	return 0, nil
}
