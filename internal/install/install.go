package install

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"strings"
	"time"

	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/chart/loader/archive"
	chartv2 "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/cli"
	helmkube "helm.sh/helm/v4/pkg/kube"
	"helm.sh/helm/v4/pkg/release"
	releasev1 "helm.sh/helm/v4/pkg/release/v1"
	"helm.sh/helm/v4/pkg/storage/driver"
)

// Options say where, and with what values.
type Options struct {
	Kubeconfig string // a file; empty: as kubectl finds it
	Context    string // of the kubeconfig; empty: its current one
	Namespace  string
	Release    string // Helm's name for what is installed
	Values     Values
	Timeout    time.Duration // of each request that waits
	DryRun     io.Writer     // print the objects there and change nothing; nil: it is none
	Notes      io.Writer     // print there what the chart has to say to these values
	Log        *slog.Logger
}

// Chart is one that Load has read.
type Chart = chartv2.Chart

// Errors that name what to do in place of what was asked for.
var (
	ErrInstalled    = errors.New("there is a release already: use `waggle upgrade`")
	ErrNotInstalled = errors.New("there is no release: use `waggle install`")
)

// Load reads a chart from a directory of a file system.
func Load(files fs.FS, dir string) (*Chart, error) {
	var all []*archive.BufferedFile
	err := fs.WalkDir(files, dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(files, path)
		all = append(all, &archive.BufferedFile{Name: strings.TrimPrefix(path, dir+"/"), Data: data})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read chart %s: %w", dir, err)
	}
	return loader.LoadFiles(all)
}

// Release is Helm's record of what is installed, and the way to change it.
type Release struct {
	o      Options
	config *action.Configuration
}

// Open looks for the release in the cluster.
func Open(o Options) (*Release, error) {
	settings := cli.New()
	settings.KubeConfig, settings.KubeContext = o.Kubeconfig, o.Context
	settings.SetNamespace(o.Namespace)
	r := &Release{o: o, config: action.NewConfiguration(action.ConfigurationSetLogger(o.Log.Handler()))}
	if err := r.config.Init(settings.RESTClientGetter(), o.Namespace, "secret"); err != nil {
		return nil, fmt.Errorf("open the cluster: %w", err)
	}
	if err := r.config.KubeClient.IsReachable(); err != nil {
		return nil, fmt.Errorf("reach the cluster: %w", err)
	}
	return r, nil
}

// Exists tells whether there is such a release.
func (r *Release) Exists() (bool, error) {
	last, err := r.last()
	return last != nil, err
}

// last is the newest version of the release; nil: there is none.
func (r *Release) last() (*releasev1.Release, error) {
	last, err := r.config.Releases.Last(r.o.Release)
	if errors.Is(err, driver.ErrReleaseNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read release %s: %w", r.o.Release, err)
	}
	made, ok := last.(*releasev1.Release)
	if !ok {
		return nil, fmt.Errorf("read release %s: it is a %T", r.o.Release, last)
	}
	return made, nil
}

// read gives the newest version of the release, nil if there is none, and the
// values of the next.
func (r *Release) read() (last *releasev1.Release, next map[string]any, err error) {
	if last, err = r.last(); err != nil {
		return nil, nil, err
	}
	var before map[string]any
	if last != nil {
		before = last.Config
	}
	next, err = r.o.Values.merge(before)
	return last, next, err
}

// Install installs a chart.
func (r *Release) Install(ctx context.Context, c *Chart) error {
	last, given, err := r.read()
	if err != nil {
		return err
	}
	if last != nil {
		return ErrInstalled
	}
	i := action.NewInstall(r.config)
	i.ReleaseName, i.Namespace, i.CreateNamespace, i.Timeout, i.WaitStrategy = r.o.Release, r.o.Namespace, true, r.o.Timeout, helmkube.HookOnlyStrategy
	if r.o.DryRun != nil {
		i.DryRunStrategy = action.DryRunServer
	}
	return r.finish(i.RunWithContext(ctx, c, given))
}

// Upgrade replaces what is installed by a chart. Values that are not given
// stay as they are.
func (r *Release) Upgrade(ctx context.Context, c *Chart) error {
	last, given, err := r.read()
	if err != nil {
		return err
	}
	if last == nil {
		return ErrNotInstalled
	}
	u := action.NewUpgrade(r.config)
	u.Namespace, u.Timeout, u.WaitStrategy, u.ResetThenReuseValues, u.MaxHistory = r.o.Namespace, r.o.Timeout, helmkube.HookOnlyStrategy, true, 10
	u.ServerSideApply = "auto"
	if r.o.DryRun != nil {
		u.DryRunStrategy = action.DryRunServer
	}
	return r.finish(u.RunWithContext(ctx, r.o.Release, c, given))
}

// Uninstall removes the release, and waits until its objects and their pods are
// gone.
func (r *Release) Uninstall() error {
	last, err := r.last()
	if err != nil {
		return err
	}
	if last == nil {
		return ErrNotInstalled
	}
	u := action.NewUninstall(r.config)
	u.Timeout, u.WaitStrategy, u.DeletionPropagation = r.o.Timeout, helmkube.StatusWatcherStrategy, "foreground"
	if _, err := u.Run(r.o.Release); err != nil {
		return fmt.Errorf("uninstall release %s: %w", r.o.Release, err)
	}
	return nil
}

// finish prints what a dry run would do, or else the chart's notes.
func (r *Release) finish(made release.Releaser, err error) error {
	if err != nil {
		return err
	}
	accessor, err := release.NewAccessor(made)
	if err != nil {
		return err
	}
	if r.o.DryRun != nil {
		_, err = io.WriteString(r.o.DryRun, accessor.Manifest())
	} else {
		_, err = fmt.Fprintf(r.o.Notes, "%s\n\n", strings.TrimSpace(accessor.Notes()))
	}
	return err
}
