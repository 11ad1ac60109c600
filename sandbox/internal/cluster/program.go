package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/waggle-mesh/waggle/sandbox/internal/member"
	"github.com/waggle-mesh/waggle/sandbox/internal/plan"
)

// Program is the state of one program of a member, as its supervisor tells it.
type Program struct {
	Member, Name string
	State        string // member.Running, Stopped, Ended or Failed
	Ends         int    // times it has ended since the member's start
	Why          string // of the last end
}

// Programs lists what runs, or should, in every member.
func Programs(p *plan.Plan) (list []Program) {
	for _, m := range p.MemberNames() {
		files, _ := os.ReadDir(filepath.Dir(p.State(m, "x")))
		for _, f := range files {
			if strings.HasPrefix(f.Name(), ".") {
				continue
			}
			if g, err := program(p, m, f.Name()); err == nil {
				list = append(list, g)
			}
		}
	}
	return list
}

func program(p *plan.Plan, memberName, name string) (Program, error) {
	g := Program{Member: memberName, Name: name}
	b, err := os.ReadFile(p.State(memberName, name))
	if err != nil {
		return g, err
	}
	f := strings.SplitN(string(b), " ", 3)
	if len(f) == 3 {
		g.State, g.Why = f[0], f[2]
		_, err = fmt.Sscan(f[1], &g.Ends)
	}
	return g, err
}

// StopProgram ends a member's program and keeps it from being started again.
func StopProgram(ctx context.Context, p *plan.Plan, memberName, name string) error {
	f := p.Stopped(memberName, name)
	if err := os.MkdirAll(filepath.Dir(f), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(f, nil, 0o644); err != nil {
		return err
	}
	return settle(ctx, p, memberName, name, member.Stopped)
}

// StartProgram lets a stopped program run again.
func StartProgram(ctx context.Context, p *plan.Plan, memberName, name string) error {
	if err := os.Remove(p.Stopped(memberName, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return settle(ctx, p, memberName, name, member.Running)
}

// settle has the member's supervisor look at the files, until the program is as asked.
func settle(ctx context.Context, p *plan.Plan, memberName, name, want string) error {
	if _, err := program(p, memberName, name); err != nil {
		return fmt.Errorf("%s has no program %s; \"sandbox status\" lists them", memberName, name)
	}
	pid, ok := Running(p.Dir)[memberName]
	if !ok {
		return fmt.Errorf("%s is not running", memberName)
	}
	if err := unix.Kill(pid, unix.SIGHUP); err != nil {
		return err
	}
	return Wait(ctx, func() error {
		g, err := program(p, memberName, name)
		if err == nil && g.State != want {
			err = fmt.Errorf("%s of %s is %s %s", name, memberName, g.State, g.Why)
		}
		return err
	})
}

// Wait calls f until it returns nil or a final error.
func Wait(ctx context.Context, f func() error) error {
	for {
		err := f()
		if err == nil || errors.As(err, &final{}) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// final is an error that waiting does not mend.
type final struct{ error }
