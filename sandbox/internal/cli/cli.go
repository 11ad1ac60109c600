// Package cli is the sandbox's command line: flags and output, no work.
package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/waggle-mesh/waggle/sandbox/internal/plan"
)

// options are those before the command.
type options struct {
	source           string // of the sandbox's own code
	name, dir, cache string
	out              io.Writer // progress
}

// command is one word of the command line.
type command struct {
	name, args, what string
	min              int // arguments it needs
	run              func(context.Context, *options, []string) (int, error)
}

// commands is a function because the completion lists them.
func commands() []command {
	return []command{
		{"up", "[flags]", "start a cluster and wait until it is ready (up -h lists flags)", 0, up},
		{"down", "", "stop it and remove everything but the cache", 0, down},
		{"wait", "", "wait until the cluster is ready; fails if none is up or coming up", 0, wait},
		{"status", "", "processes of every member with memory and CPU time", 0, status},
		{"kubectl", "ARGS...", "kubectl as administrator", 0, kubectl},
		{"exec", "MEMBER COMMAND...", "run a command in n1, n2, ..., cp or ext", 2, execIn},
		{"logs", "[-f] MEMBER [PROGRAM]", "print a program's log; without one, list them", 1, logs},
		{"kill", "MEMBER...", "power cut of a node or the control plane", 1, kill},
		{"start", "MEMBER...", "power on again; the disks are as they were", 1, start},
		{"stop-program", "MEMBER PROGRAM", "kill -9 a program and keep it from coming back", 2, stopProgram},
		{"start-program", "MEMBER PROGRAM", "let it run again", 2, startProgram},
		{"stop-apiserver", "", "outage of the API server", 0, stopAPIServer},
		{"start-apiserver", "", "its end; waits until it is ready", 0, startAPIServer},
		{"load-image", "[-pull] REF[,REF...] FILE...", "make an image; FILE is SRC, DEST=SRC or DEST@LINKTARGET, the first is the entrypoint", 2, loadImage},
		{"load-program", "[-pull] REF[,REF...] PROGRAM", "make an image of a program of this machine with its shared libraries", 2, loadProgram},
		{"load-archive", "FILE", "load an image that \"docker save\" or the like has written", 1, loadArchive},
		{"build", "[-images SET,...]", "fill the cache (up does it when needed)", 0, build},
		{"clean", "", "empty the cache", 0, clean},
		{"members", "", "names of the members", 0, members},
		{"env", "", `settings for a shell: eval "$(sandbox env)"`, 0, env},
		{"completion", "", `completion for bash: eval "$(sandbox completion)"`, 0, completion},
	}
}

func usage(f *flag.FlagSet) {
	fmt.Fprintln(os.Stderr, "usage: sandbox [-name NAME] [-dir DIR] [-cache DIR] COMMAND")
	for _, c := range commands() {
		fmt.Fprintf(os.Stderr, "  %-44s %s\n", c.name+" "+c.args, c.what)
	}
	f.PrintDefaults()
}

// Main runs one command and returns the process's exit status.
func Main(source string, args []string) int {
	status, err := run(source, args)
	if errors.Is(err, flag.ErrHelp) {
		return 2
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "sandbox:", err)
		return 1
	}
	return status
}

func run(source string, args []string) (int, error) {
	o := &options{source: source, out: os.Stderr}
	f := flag.NewFlagSet("sandbox", flag.ContinueOnError)
	f.StringVar(&o.name, "name", setting("SANDBOX_NAME", "a"), "name of the sandbox (SANDBOX_NAME)")
	f.StringVar(&o.dir, "dir", os.Getenv("SANDBOX_DIR"), "state, removed by down (SANDBOX_DIR; by default a folder by the sandbox's name in the temporary folder)")
	f.StringVar(&o.cache, "cache", os.Getenv("SANDBOX_CACHE"), "programs and images (SANDBOX_CACHE; by default in the user's cache folder)")
	f.Usage = func() { usage(f) }
	if err := f.Parse(args); err != nil {
		return 0, flag.ErrHelp
	}
	if err := o.fill(); err != nil {
		return 0, err
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer cancel()
	for _, c := range commands() {
		if c.name != f.Arg(0) {
			continue
		}
		if f.NArg()-1 < c.min {
			return 0, fmt.Errorf("usage: sandbox %s %s", c.name, c.args)
		}
		return c.run(ctx, o, f.Args()[1:])
	}
	usage(f)
	return 2, nil
}

func setting(variable, otherwise string) string {
	if v := os.Getenv(variable); v != "" {
		return v
	}
	return otherwise
}

func (o *options) fill() error {
	if o.dir == "" {
		o.dir = filepath.Join(os.TempDir(), "sandbox-"+o.name)
	}
	if o.cache == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			return fmt.Errorf("no folder for the cache (give -cache): %w", err)
		}
		o.cache = filepath.Join(base, "waggle-sandbox")
	}
	for _, d := range []*string{&o.dir, &o.cache} {
		abs, err := filepath.Abs(*d)
		if err != nil {
			return err
		}
		*d = abs
	}
	return nil
}

// running is the plan of the sandbox that is up.
func (o *options) running() (*plan.Plan, error) { return plan.Load(o.dir) }

func completion(_ context.Context, _ *options, _ []string) (int, error) {
	var words []string
	for _, c := range commands() {
		words = append(words, c.name)
	}
	var flags []string
	f, _ := upFlags(&plan.Plan{})
	f.VisitAll(func(g *flag.Flag) { flags = append(flags, "-"+g.Name) })
	fmt.Printf(completionScript, strings.Join(words, " "), strings.Join(flags, " "))
	return 0, nil
}

const completionScript = `_sandbox() {
	local word=${COMP_WORDS[COMP_CWORD]} i command=
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		-name | -dir | -cache) ((i++)) ;;
		-*) ;;
		*) command=${COMP_WORDS[i]}; break ;;
		esac
	done
	case $command in
	"") COMPREPLY=($(compgen -W "-name -dir -cache %s" -- "$word")) ;;
	up) COMPREPLY=($(compgen -W "%s" -- "$word")) ;;
	exec | logs | kill | start | stop-program | start-program) COMPREPLY=($(compgen -W "$(sandbox members 2>/dev/null)" -- "$word")) ;;
	*) COMPREPLY=($(compgen -f -- "$word")) ;;
	esac
}
complete -F _sandbox sandbox
`
