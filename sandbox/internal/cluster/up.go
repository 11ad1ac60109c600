package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/waggle-mesh/waggle/sandbox/internal/addon"
	"github.com/waggle-mesh/waggle/sandbox/internal/member"
	"github.com/waggle-mesh/waggle/sandbox/internal/pki"
	"github.com/waggle-mesh/waggle/sandbox/internal/plan"
)

// Start starts a sandbox from nothing. Like Finish, when it fails it leaves
// everything as it is: the caller asks Diagnose, then Down.
func Start(p *plan.Plan) error {
	if err := p.Save(); err != nil {
		return err
	}
	if err := pki.Write(p); err != nil {
		return fmt.Errorf("write keys: %w", err)
	}
	return Power(p, p.Members...)
}

// Finish waits for what Start has started and completes the cluster through its API.
func Finish(ctx context.Context, p *plan.Plan) error {
	a, err := newAPI(p)
	if err != nil {
		return err
	}
	err = Wait(ctx, func() error {
		if err := crashing(p); err != nil {
			return err
		}
		return a.do("GET", "/readyz", "", nil)
	})
	if err != nil {
		return fmt.Errorf("wait for the API server: %w", err)
	}
	for _, n := range p.Nodes() {
		if err := register(a, n); err != nil {
			return fmt.Errorf("register node %s: %w", n.Name, err)
		}
	}
	if err := install(ctx, p); err != nil {
		return err
	}
	if err := Wait(ctx, func() error { return errors.Join(Ready(p), crashing(p)) }); err != nil {
		return fmt.Errorf("wait for the cluster: %w", err)
	}
	return nil
}

// register makes the Node object, or completes the one its kubelet has made.
func register(a *api, n plan.Member) error {
	type m = map[string]any
	b, err := json.Marshal(m{
		"apiVersion": "v1", "kind": "Node", "metadata": m{"name": n.Name},
		"spec": m{"podCIDR": n.PodCIDRs[0], "podCIDRs": n.PodCIDRs},
	})
	if err != nil {
		return err
	}
	if a.do("POST", "/api/v1/nodes", string(b), nil) == nil {
		return nil
	}
	return a.do("PATCH", "/api/v1/nodes/"+n.Name, string(b), nil)
}

// install applies what the plan asks for beside Kubernetes.
func install(ctx context.Context, p *plan.Plan) error {
	manifests, err := addon.Manifests(p)
	if err != nil {
		return err
	}
	for _, m := range manifests {
		cmd := Kubectl(ctx, p, "apply", "--server-side", "-f", "-")
		cmd.Stdin = bytes.NewReader(m.Text)
		if text, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("apply %s: %w: %s", m.Name, err, text)
		}
	}
	return nil
}

// Kubectl is kubectl as administrator.
func Kubectl(ctx context.Context, p *plan.Plan, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, p.Kube(), append([]string{"kubectl"}, args...)...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+p.Kubeconfig())
	return cmd
}

// Ready says what there is still to wait for.
func Ready(p *plan.Plan) error {
	a, err := newAPI(p)
	if err != nil {
		return err
	}
	if err := nodesReady(a, p); err != nil {
		return err
	}
	if err := a.do("GET", "/api/v1/namespaces/default/serviceaccounts/default", "", nil); err != nil {
		return err
	}
	if !p.DNS || p.CNIConf == plan.NoCNI {
		return nil
	}
	var d struct {
		Status struct{ AvailableReplicas int }
	}
	if err := a.do("GET", "/apis/apps/v1/namespaces/kube-system/deployments/coredns", "", &d); err != nil {
		return err
	}
	if d.Status.AvailableReplicas == 0 {
		return errors.New("CoreDNS is not available")
	}
	return nil
}

func nodesReady(a *api, p *plan.Plan) error {
	var nodes struct {
		Items []struct {
			Metadata struct{ Name string }
			Status   struct {
				Conditions []struct {
					Type, Status, Message string
					LastHeartbeatTime     time.Time // whole seconds
				}
			}
		}
	}
	if err := a.do("GET", "/api/v1/nodes", "", &nodes); err != nil {
		return err
	}
	ready := map[string]bool{}
	missing := map[string]string{}
	for _, n := range nodes.Items {
		name := n.Metadata.Name
		for _, s := range n.Status.Conditions {
			switch {
			case s.Type != "Ready":
			case s.LastHeartbeatTime.Before(kubeletStart(p, name)):
				missing[name] = "its kubelet has just been started"
			default:
				ready[name] = s.Status == "True" || p.CNIConf == plan.NoCNI && s.Status == "False"
				missing[name] = s.Message
			}
		}
	}
	for _, n := range p.Nodes() {
		if !ready[n.Name] {
			return fmt.Errorf("node %s is not ready: %s", n.Name, missing[n.Name])
		}
	}
	return nil
}

// kubeletStart is the second in which a node's kubelet was last started: what the
// node's conditions said before is not to be believed. Zero if it is stopped.
func kubeletStart(p *plan.Plan, node string) time.Time {
	g, err := program(p, node, "kubelet")
	if err == nil && g.State == member.Stopped {
		return time.Time{}
	}
	st, err := os.Stat(p.State(node, "kubelet"))
	if err != nil { // not yet started
		return time.Now().Add(time.Hour)
	}
	return st.ModTime().Truncate(time.Second)
}

// crashing finds a program that will not come up by waiting: one that ends again
// and again, or a member that could not be set up.
func crashing(p *plan.Plan) error {
	running := Running(p.Dir)
	for _, m := range p.MemberNames() {
		if running[m] == 0 {
			return final{fmt.Errorf("member %s has ended", m)}
		}
	}
	for _, g := range Programs(p) {
		if g.State == member.Failed || g.Ends >= 4 {
			return final{fmt.Errorf("%s of member %s has ended %d times: %s", g.Name, g.Member, g.Ends, g.Why)}
		}
	}
	return nil
}

// Diagnose prints, of every program that is in trouble and of every member that
// is the reason of err, the last lines of its log.
func Diagnose(p *plan.Plan, err error, out io.Writer) {
	shown := false
	show := func(memberName, name string) {
		lines := tail(p.Log(memberName, name), 15)
		if len(lines) == 0 {
			return
		}
		shown = true
		fmt.Fprintf(out, "\n--- last lines of %s of member %s ---\n%s\n", name, memberName, strings.Join(lines, "\n"))
	}
	running := Running(p.Dir)
	for _, m := range p.MemberNames() {
		if running[m] == 0 {
			show(m, "init")
		}
	}
	for _, g := range Programs(p) {
		if g.Ends > 0 || g.State == member.Failed {
			show(g.Member, g.Name)
		}
	}
	if shown {
		return
	}
	for _, n := range p.Nodes() {
		if strings.Contains(err.Error(), "node "+n.Name+" ") {
			show(n.Name, "kubelet")
			return
		}
	}
	show("cp", "kube-apiserver")
}

func tail(file string, n int) []string {
	b, _ := os.ReadFile(file)
	lines := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	if len(lines) == 1 && lines[0] == "" {
		return nil
	}
	return lines[max(0, len(lines)-n):]
}

// IsUp tells whether the sandbox runs, whole and ready, as planned.
func IsUp(p *plan.Plan) bool {
	old, err := plan.Load(p.Dir)
	return err == nil && old.Equal(p) && len(Running(p.Dir)) == len(p.Members) && Ready(p) == nil
}

// Seconds is a duration as people read it.
func Seconds(d time.Duration) string { return fmt.Sprintf("%.1fs", d.Seconds()) }
