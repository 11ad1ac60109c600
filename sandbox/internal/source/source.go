// Package source fills the cache: Kubernetes' programs from their Go modules,
// the container runtime from the distribution's packages, images from both.
//
// Nothing is installed on the machine. Each thing is made again only when what
// it is made from has changed; things that do not need each other are made side
// by side. Builders of several processes take turns.
package source

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/waggle-mesh/waggle/sandbox/internal/addon"
	"github.com/waggle-mesh/waggle/sandbox/internal/plan"
)

// Builder makes what a plan needs.
type Builder struct {
	progress
	Source string // folder of the sandbox's own sources
	Plan   *plan.Plan
	Images []string // sets of the catalog, beside what the cluster itself needs

	lists    sync.Once // the update of the distribution's package lists
	listsErr error     // what it came to
}

// NewBuilder reports progress to out.
func NewBuilder(source string, p *plan.Plan, images []string, out io.Writer) *Builder {
	return &Builder{progress: progress{out: out}, Source: source, Plan: p, Images: images}
}

// Build makes what is missing or out of date.
func (b *Builder) Build(ctx context.Context) error {
	if _, err := os.Stat(filepath.Join(b.Source, "kube", "main.go")); err != nil {
		return fmt.Errorf("the sandbox's sources are not in %s (set SANDBOX_SOURCE): %w", b.Source, err)
	}
	for _, d := range []string{"bin", "stamps"} {
		if err := os.MkdirAll(filepath.Join(b.Plan.Cache, d), 0o755); err != nil {
			return err
		}
	}
	unlock, err := b.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	jobs := []func(context.Context) error{b.kube, b.runtime, b.gatewayAPI}
	recipes, err := b.recipes()
	if err != nil {
		return err
	}
	for _, r := range recipes {
		jobs = append(jobs, func(ctx context.Context) error { return b.image(ctx, r) })
	}
	return sideBySide(ctx, jobs)
}

// sideBySide runs jobs, two at a time: the Go tool uses every core by itself,
// but downloads and package tools do not. The first failure ends the others.
func sideBySide(ctx context.Context, jobs []func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	slots := make(chan struct{}, 2)
	errs := make(chan error, len(jobs))
	for _, job := range jobs {
		go func() {
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				errs <- context.Cause(ctx)
				return
			}
			err := job(ctx)
			<-slots
			errs <- err
		}()
	}
	var first error
	for range jobs {
		if err := <-errs; err != nil && first == nil {
			first = err
			cancel(err)
		}
	}
	return first
}

// lock keeps other processes from building into the same cache.
func (b *Builder) lock(ctx context.Context) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(b.Plan.Cache, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	for told := false; ; told = true {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock the cache: %w", err)
		}
		if !told {
			b.printf("another sandbox command is building; waiting for it")
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// once does a thing whose stamp, a sum of all it depends on, has changed, or
// whose result is missing.
func (b *Builder) once(name, sum, result string, do func() error) error {
	stamp := filepath.Join(b.Plan.Cache, "stamps", name)
	old, _ := os.ReadFile(stamp)
	if _, err := os.Stat(result); err == nil && string(old) == sum {
		return nil
	}
	if err := do(); err != nil {
		return err
	}
	return os.WriteFile(stamp, []byte(sum), 0o644)
}

// sumOf is a digest of texts and of the files of folders.
func sumOf(texts []string, dirs ...string) (string, error) {
	h := sha256.New()
	for _, t := range append(texts, runtime.Version(), runtime.GOARCH) {
		fmt.Fprintf(h, "%q\n", t)
	}
	for _, d := range dirs {
		err := filepath.WalkDir(d, func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() || strings.HasSuffix(path, "_test.go") {
				return err
			}
			b, err := os.ReadFile(path)
			fmt.Fprintf(h, "%s %x\n", strings.TrimPrefix(path, d), sha256.Sum256(b))
			return err
		})
		if err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%x", h.Sum(nil)), nil
}

// kube builds the binary that holds every Kubernetes program.
func (b *Builder) kube(ctx context.Context) error {
	dir := filepath.Join(b.Source, "kube")
	v := "k8s.io/component-base/version."
	major, minor := "1", strings.Split(plan.KubernetesVersion, ".")[1]
	ldflags := fmt.Sprintf("-X %[1]sgitVersion=%[2]s -X %[1]sgitMajor=%[3]s -X %[1]sgitMinor=%[4]s -X %[1]sgitTreeState=clean -X %[1]sgitCommit=none", v, plan.KubernetesVersion, major, minor)
	sum, err := sumOf([]string{ldflags}, dir)
	if err != nil {
		return err
	}
	return b.once("kube", sum, b.Plan.Kube(), func() error {
		return b.goBuild(ctx, "kube (minutes, the first time)", dir, ".", ldflags, b.Plan.Kube())
	})
}

// gatewayAPI copies the definitions out of their Go module.
func (b *Builder) gatewayAPI(ctx context.Context) error {
	channel := b.Plan.GatewayAPI
	if channel == "none" {
		return nil
	}
	dir := filepath.Join(b.Source, "images", "upstream") // requires the module at the version we install
	sum, err := sumOf(nil, dir)
	if err != nil {
		return err
	}
	to := addon.GatewayAPIDir(b.Plan.Cache, channel)
	return b.once("gateway-api-"+channel, sum, to, func() error {
		return b.step("fetch the Gateway API's "+channel+" definitions", func() error {
			if _, err := command(ctx, dir, goEnv, nil, "go", "mod", "download", gatewayAPIModule); err != nil {
				return err
			}
			from, err := command(ctx, dir, goEnv, nil, "go", "list", "-m", "-f", "{{.Dir}}", gatewayAPIModule)
			if err != nil {
				return err
			}
			return replaceDir(to, os.DirFS(filepath.Join(strings.TrimSpace(from), "config", "crd", channel)))
		})
	})
}

const gatewayAPIModule = "sigs.k8s.io/gateway-api"

// replaceDir makes a folder hold just the files of another.
func replaceDir(to string, from fs.FS) error {
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	return os.CopyFS(to, from)
}
