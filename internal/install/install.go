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
	"helm.sh/helm/v4/pkg/cli/values"
	"helm.sh/helm/v4/pkg/getter"
	helmkube "helm.sh/helm/v4/pkg/kube"
	"helm.sh/helm/v4/pkg/release"
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

// Values are the chart's values, as Helm's flags of these names take them.
type Values struct {
	Files, Set, SetString []string
	// Found are values that nobody has given: those above win.
	Found map[string]any
}

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
	_, err := r.config.Releases.Last(r.o.Release)
	if errors.Is(err, driver.ErrReleaseNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read release %s: %w", r.o.Release, err)
	}
	return true, nil
}

// Install installs a chart.
func (r *Release) Install(ctx context.Context, c *Chart) error {
	given, err := r.o.Values.merge()
	if err != nil {
		return err
	}
	if there, err := r.Exists(); there || err != nil {
		return errors.Join(err, ErrInstalled)
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
	given, err := r.o.Values.merge()
	if err != nil {
		return err
	}
	if there, err := r.Exists(); !there || err != nil {
		return errors.Join(err, ErrNotInstalled)
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
	if there, err := r.Exists(); !there || err != nil {
		return errors.Join(err, ErrNotInstalled)
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

// merge reads the values; what is found comes first.
func (v Values) merge() (map[string]any, error) {
	options := values.Options{ValueFiles: v.Files, Values: v.Set, StringValues: v.SetString}
	given, err := options.MergeValues(getter.All(cli.New()))
	if err != nil {
		return nil, fmt.Errorf("read values: %w", err)
	}
	for name, value := range v.Found {
		if _, there := given[name]; !there {
			given[name] = value
		}
	}
	return given, nil
}
