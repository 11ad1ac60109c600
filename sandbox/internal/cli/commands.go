package cli

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/waggle-mesh/waggle/sandbox/internal/cluster"
	"github.com/waggle-mesh/waggle/sandbox/internal/plan"
	"github.com/waggle-mesh/waggle/sandbox/internal/source"
)

func (o *options) lock(ctx context.Context) (func(), error) {
	return cluster.Lock(ctx, o.dir, func() {
		fmt.Fprintln(o.out, "another sandbox command is at work on", o.dir+"; waiting for it")
	})
}

func down(ctx context.Context, o *options, _ []string) (int, error) {
	unlock, err := o.lock(ctx)
	if err != nil {
		return 0, err
	}
	defer unlock()
	return 0, cluster.Down(o.name, o.dir)
}

func wait(ctx context.Context, o *options, _ []string) (int, error) {
	unlock, err := o.lock(ctx) // an "up" at work holds it
	if err != nil {
		return 0, err
	}
	unlock()
	p, err := o.running()
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return 0, cluster.Wait(ctx, func() error { return cluster.Ready(p) })
}

func status(_ context.Context, o *options, _ []string) (int, error) {
	p, err := o.running()
	if err != nil {
		return 0, err
	}
	return 0, cluster.Status(p, os.Stdout)
}

func kubectl(_ context.Context, o *options, args []string) (int, error) {
	p, err := o.running()
	if err != nil {
		return 0, err
	}
	return 0, syscall.Exec(p.Kube(), append([]string{"kubectl"}, args...), append(os.Environ(), "KUBECONFIG="+p.Kubeconfig()))
}

func execIn(ctx context.Context, o *options, args []string) (int, error) {
	p, err := o.running()
	if err != nil {
		return 0, err
	}
	return cluster.Exec(ctx, p, args[0], args[1:])
}

func kill(_ context.Context, o *options, args []string) (int, error) {
	p, err := o.running()
	if err != nil {
		return 0, err
	}
	for _, name := range args {
		if _, err := p.Member(name); err != nil {
			return 0, err
		}
	}
	return 0, cluster.Kill(o.dir, args...)
}

func start(_ context.Context, o *options, args []string) (int, error) {
	p, err := o.running()
	if err != nil {
		return 0, err
	}
	var members []plan.Member
	for _, name := range args {
		m, err := p.Member(name)
		if err != nil {
			return 0, err
		}
		members = append(members, m)
	}
	return 0, cluster.Power(p, members...)
}

func stopProgram(ctx context.Context, o *options, args []string) (int, error) {
	p, err := o.running()
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return 0, cluster.StopProgram(ctx, p, args[0], args[1])
}

func startProgram(ctx context.Context, o *options, args []string) (int, error) {
	p, err := o.running()
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return 0, cluster.StartProgram(ctx, p, args[0], args[1])
}

func stopAPIServer(ctx context.Context, o *options, _ []string) (int, error) {
	return stopProgram(ctx, o, []string{"cp", "kube-apiserver"})
}

func startAPIServer(ctx context.Context, o *options, _ []string) (int, error) {
	if _, err := startProgram(ctx, o, []string{"cp", "kube-apiserver"}); err != nil {
		return 0, err
	}
	p, err := o.running()
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return 0, cluster.Wait(ctx, func() error { return cluster.Ready(p) })
}

func build(ctx context.Context, o *options, args []string) (int, error) {
	p := &plan.Plan{Name: o.name, Dir: o.dir, Cache: o.cache, DNS: true, GatewayAPI: "standard"}
	f := flag.NewFlagSet("build", flag.ContinueOnError)
	images := f.String("images", "", "sets of images, with commas between: "+strings.Join(source.Sets, ", "))
	f.StringVar(&p.GatewayAPI, "gateway-api", "standard", "definitions to fetch: standard, experimental or none")
	if err := f.Parse(args); err != nil {
		return 0, flag.ErrHelp
	}
	if err := source.Check(p); err != nil {
		return 0, err
	}
	return 0, source.NewBuilder(o.source, p, sets(*images), o.out).Build(ctx)
}

// clean empties the cache, unless a sandbox runs from it.
func clean(ctx context.Context, o *options, _ []string) (int, error) {
	unlock, err := o.lock(ctx)
	if err != nil {
		return 0, err
	}
	defer unlock()
	if users := cluster.UsersOf(o.cache); len(users) > 0 {
		return 0, fmt.Errorf("the cache is in use by the sandbox in %s", strings.Join(users, ", "))
	}
	return 0, os.RemoveAll(o.cache)
}

func env(_ context.Context, o *options, _ []string) (int, error) {
	p, err := o.running()
	if err != nil {
		return 0, err
	}
	if len(cluster.Running(p.Dir)) == 0 { // the machine was restarted, or all was killed
		return 0, fmt.Errorf("nothing runs of the sandbox in %s: bring it up again or take it down", p.Dir)
	}
	fmt.Printf("export KUBECONFIG=%s SANDBOX_NAME=%s SANDBOX_DIR=%s SANDBOX_CACHE=%s SANDBOX_LB_CIDRS=%s\n",
		p.Kubeconfig(), p.Name, p.Dir, p.Cache, plan.Join(p.LBCIDRs))
	return 0, nil
}

func logs(ctx context.Context, o *options, args []string) (int, error) {
	f := flag.NewFlagSet("logs", flag.ContinueOnError)
	follow := f.Bool("f", false, "go on as it grows")
	if err := f.Parse(args); err != nil {
		return 0, flag.ErrHelp
	}
	p, err := o.running()
	if err != nil {
		return 0, err
	}
	if _, err := p.Member(f.Arg(0)); err != nil {
		return 0, err
	}
	if f.NArg() == 1 {
		files, err := filepath.Glob(p.Log(f.Arg(0), "*"))
		for _, f := range files {
			fmt.Println(strings.TrimSuffix(filepath.Base(f), ".log"))
		}
		return 0, err
	}
	file, err := os.Open(p.Log(f.Arg(0), f.Arg(1)))
	if errors.Is(err, os.ErrNotExist) {
		return 0, fmt.Errorf("%s has no program %s: \"sandbox logs %[1]s\" lists them", f.Arg(0), f.Arg(1))
	}
	if err != nil {
		return 0, err
	}
	defer file.Close()
	for {
		if _, err := io.Copy(os.Stdout, file); err != nil || !*follow {
			return 0, err
		}
		select {
		case <-ctx.Done():
			return 0, nil
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// members is for the completion: it prints names and nothing else.
func members(_ context.Context, o *options, _ []string) (int, error) {
	p, err := o.running()
	if err != nil {
		return 0, err
	}
	var b bytes.Buffer
	for _, m := range p.MemberNames() {
		fmt.Fprintln(&b, m)
	}
	_, err = os.Stdout.Write(b.Bytes())
	return 0, err
}
