package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/waggle-mesh/waggle/sandbox/internal/cluster"
	"github.com/waggle-mesh/waggle/sandbox/internal/plan"
	"github.com/waggle-mesh/waggle/sandbox/internal/source"
	"github.com/waggle-mesh/waggle/sandbox/internal/wire"
)

// upOptions are up's flags that do not go into the plan as they are.
type upOptions struct {
	nodes                  int
	families               string
	node, pod, service, lb prefixes
	images                 string
	nodeGrace              time.Duration
	timeout                time.Duration
	keep                   bool
}

// prefixes is a flag: address ranges with commas between.
type prefixes []netip.Prefix

func (p *prefixes) String() string { return plan.Join(*p) }

func (p *prefixes) Set(s string) error {
	*p = nil
	for t := range strings.SplitSeq(s, ",") {
		c, err := netip.ParsePrefix(t)
		if err != nil {
			return err
		}
		*p = append(*p, c)
	}
	return nil
}

func upFlags(p *plan.Plan) (*flag.FlagSet, *upOptions) {
	u := &upOptions{}
	f := flag.NewFlagSet("up", flag.ContinueOnError)
	f.IntVar(&u.nodes, "nodes", 2, "number of nodes")
	f.StringVar(&u.families, "ip-families", "ipv4", "ipv4, ipv6, or both with a comma between, the primary first")
	f.Var(&u.node, "node-cidr", "node network, one range per family (default: the first of 10.93.0.0/16, 10.94.0.0/16, ..., fd93:0::/64, ... that is free)")
	f.Var(&u.lb, "lb-cidr", "LoadBalancer addresses (default: the first of 172.18.255.0/24, 172.18.254.0/24, ... that is free)")
	f.Var(&u.pod, "pod-cidr", "pod network (default 10.244.0.0/16, fd00:244::/56)")
	f.Var(&u.service, "service-cidr", "Service network (default 10.96.0.0/16, fd00:96::/112)")
	f.StringVar(&p.LBMode, "lb-mode", plan.LBRouted, "how host and ext reach LoadBalancer addresses: routed (through -lb-node) or announced (by ARP and neighbour discovery)")
	f.StringVar(&p.LBNode, "lb-node", "n1", "node that LoadBalancer addresses are routed to")
	f.IntVar(&p.MTU, "mtu", 1500, "MTU of the node network, in bytes")
	f.StringVar(&p.CNIConf, "cni-conf", plan.PtpCNI, "network plugin: ptp; none, and nodes stay NotReady until something installs one; or a conflist file, a template with .Node.PodCIDRs, .Node.Name, .Node.IPs and .Plan.MTU")
	f.StringVar(&p.CNIBin, "cni-bin", "", "folder of CNI programs, copied to /opt/cni/bin of every node")
	f.StringVar(&p.KubeProxy, "kube-proxy", "nftables", "service proxy: nftables, iptables or none")
	f.BoolVar(&p.DNS, "dns", true, "run CoreDNS")
	f.StringVar(&p.GatewayAPI, "gateway-api", "none", "install the Gateway API's definitions: standard, experimental or none")
	f.StringVar(&u.images, "images", "", "sets of images to make, with commas between: "+strings.Join(source.Sets, ", "))
	f.StringVar(&p.Runtime, "runtime", "", "folder of containerd, its shim, runc and CNI programs (default: the distribution's, in the cache)")
	f.DurationVar(&u.nodeGrace, "node-grace", 0, "how long a silent node counts as Ready (default: Kubernetes' own)")
	f.StringVar(&p.Gates, "feature-gates", "", "of every Kubernetes program, as A=true,B=false")
	f.Func("flag", "PROGRAM=FLAG, one more flag for etcd, kube-apiserver, kubelet, ... (again for more)", func(s string) error {
		if program, rest, ok := strings.Cut(s, "="); !ok || program == "" || !strings.HasPrefix(rest, "-") {
			return errors.New("want PROGRAM=--FLAG=VALUE")
		}
		p.Flags = append(p.Flags, s)
		return nil
	})
	f.DurationVar(&u.timeout, "timeout", 3*time.Minute, "give up after this long, not counting the build")
	f.BoolVar(&u.keep, "keep", false, "leave a cluster that did not come up as it is")
	return f, u
}

func up(ctx context.Context, o *options, args []string) (int, error) {
	p := &plan.Plan{Name: o.name, Dir: o.dir, Cache: o.cache}
	f, u := upFlags(p)
	if err := f.Parse(args); err != nil {
		return 0, flag.ErrHelp
	}
	if f.NArg() > 0 {
		return 0, fmt.Errorf("up takes flags only, not %q", f.Args())
	}
	unlock, err := o.lock(ctx)
	if err != nil {
		return 0, err
	}
	defer unlock()
	if err := u.fill(p); err != nil {
		return 0, err
	}
	if err := cluster.CheckName(p.Name, p.Dir); err != nil {
		return 0, err
	}
	if err := source.Check(p); err != nil {
		return 0, err
	}
	b := source.NewBuilder(o.source, p, sets(u.images), o.out)
	if err := b.Build(ctx); err != nil {
		return 0, err
	}
	if cluster.IsUp(p) {
		fmt.Printf("already up; export KUBECONFIG=%s\n", p.Kubeconfig())
		return 0, nil
	}
	begin := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, u.timeout, fmt.Errorf("not up after %s", u.timeout))
	defer cancel()
	err = u.power(ctx, o, p)
	if err == nil {
		err = cluster.Finish(ctx, p)
	}
	if err != nil {
		if !errors.Is(context.Cause(ctx), context.Canceled) { // not Ctrl-C
			cluster.Diagnose(p, err, o.out)
		}
		if u.keep {
			return 0, fmt.Errorf("%w (kept as it is; sandbox down removes it)", err)
		}
		return 0, errors.Join(err, cluster.Down(o.name, o.dir))
	}
	fmt.Printf("up in %s; export KUBECONFIG=%s\n", cluster.Seconds(time.Since(begin)), p.Kubeconfig())
	return 0, nil
}

// power chooses the networks for good and starts the members. Sandboxes that are
// brought up at the same time take turns here, lest they choose the same.
func (u *upOptions) power(ctx context.Context, o *options, p *plan.Plan) error {
	unlock, err := cluster.Lock(ctx, "networks", func() {})
	if err != nil {
		return err
	}
	defer unlock()
	if err := cluster.Down(o.name, o.dir); err != nil { // leftovers of any kind
		return err
	}
	if err := u.networks(p); err != nil {
		return err
	}
	if err := p.Fill(u.nodes); err != nil {
		return err
	}
	return cluster.Start(p)
}

func sets(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}

// fill completes the plan from the flags.
func (u *upOptions) fill(p *plan.Plan) error {
	for _, c := range []struct {
		flag, value string
		allowed     []string
	}{
		{"-kube-proxy", p.KubeProxy, []string{"none", "iptables", "nftables"}},
		{"-gateway-api", p.GatewayAPI, []string{"none", "standard", "experimental"}},
		{"-lb-mode", p.LBMode, []string{plan.LBRouted, plan.LBAnnounced}},
	} {
		if !slices.Contains(c.allowed, c.value) {
			return fmt.Errorf("%s %s: must be one of %s", c.flag, c.value, strings.Join(c.allowed, ", "))
		}
	}
	for _, f := range []*string{&p.CNIBin, &p.CNIConf, &p.Runtime} {
		if *f == "" || *f == plan.PtpCNI || *f == plan.NoCNI {
			continue
		}
		abs, err := filepath.Abs(*f)
		if err != nil {
			return err
		}
		if _, err := os.Stat(abs); err != nil {
			return err
		}
		*f = abs
	}
	if u.nodeGrace > 0 {
		p.Flags = append(p.Flags, "kube-controller-manager=--node-monitor-grace-period="+u.nodeGrace.String())
	}
	if err := u.networks(p); err != nil {
		return err
	}
	return p.Fill(u.nodes)
}

// networks chooses the address ranges: those given, those that the sandbox has
// if it is up, else the first that this machine does not use.
func (u *upOptions) networks(p *plan.Plan) error {
	families, ok := plan.Families[u.families]
	if !ok {
		return fmt.Errorf("-ip-families %s: must be ipv4, ipv6, ipv4,ipv6 or ipv6,ipv4", u.families)
	}
	var candidates []plan.Networks
	if old, err := plan.Load(p.Dir); err == nil && plan.SameFamilies(old.Networks, families) {
		candidates = append(candidates, old.Networks)
	}
	for slot := range plan.Slots {
		candidates = append(candidates, plan.DefaultNetworks(families, slot))
	}
	var why string
	for _, n := range candidates {
		for _, c := range []struct {
			given prefixes
			to    *[]netip.Prefix
		}{{u.node, &n.NodeCIDRs}, {u.pod, &n.PodCIDRs}, {u.service, &n.ServiceCIDRs}, {u.lb, &n.LBCIDRs}} {
			if c.given != nil {
				*c.to = c.given
			}
		}
		taken, err := wire.Taken(append(slices.Clone(n.NodeCIDRs), n.LBCIDRs...), p.Link())
		if err != nil {
			return err
		}
		if taken == "" {
			p.Networks = n
			return nil
		}
		why = taken
		if u.node != nil && u.lb != nil {
			break
		}
	}
	return fmt.Errorf("no free address range for nodes and LoadBalancers: it would overlap %s; give -node-cidr or -lb-cidr", why)
}
