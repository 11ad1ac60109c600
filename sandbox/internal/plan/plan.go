// Package plan says what one sandbox is made of: its names, folders, address
// ranges, members and the settings that Kubernetes is started with.
//
// A Plan is worked out once by "up", stored in the sandbox's folder, and is all
// that any later command and every member knows. It is plain data: nothing here
// touches the machine but to read and write that one file.
package plan

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// KubernetesVersion is the release that every Kubernetes program is built from.
const KubernetesVersion = "v1.36.3"

// NoCNI and PtpCNI are the values of Plan.CNIConf that are not a file's path.
const (
	NoCNI  = "none" // nodes stay NotReady until something installs a network plugin
	PtpCNI = "ptp"  // the ptp plugin and a route to every node's pods
)

// Member is one process 1 with namespaces of its own: the external client
// "ext", the control plane "cp", or a node "n1", "n2", ...
type Member struct {
	Name     string
	IPs      []netip.Addr   // on the node network, one per family
	PodCIDRs []netip.Prefix // one per family; none unless it is a Kubernetes node
}

// IsNode tells whether a kubelet runs on the member.
func (m Member) IsNode() bool { return len(m.PodCIDRs) > 0 }

// IP is the member's address in the primary family.
func (m Member) IP() netip.Addr { return m.IPs[0] }

// IPList is every address, as kubelet's --node-ip wants them.
func (m Member) IPList() string { return Join(m.IPs) }

// Plan is all that distinguishes one sandbox from another.
type Plan struct {
	Name  string // of cgroups and of the host's link
	Dir   string // state; removed by down
	Cache string // programs and images; kept, shared by sandboxes

	Networks
	LBMode string // how host and ext reach LoadBalancer addresses: see LBRouted
	LBNode string // the node they are routed to with LBRouted
	MTU    int    // bytes, of the node network and the pods

	Members []Member // ext first, then cp, n1, n2, ...

	CNIBin     string   // folder of CNI programs for /opt/cni/bin; empty: none but loopback
	CNIConf    string   // NoCNI, PtpCNI or a conflist template's path
	KubeProxy  string   // "none", "iptables" or "nftables"
	DNS        bool     // run CoreDNS
	GatewayAPI string   // channel of CRDs to install: "none", "standard" or "experimental"
	Runtime    string   // folder of containerd, shim, runc and CNI programs; empty: the distribution's, in the cache
	Flags      []string // PROGRAM=FLAG, added to that program's own
	Gates      string   // feature gates of every Kubernetes program: "A=true,B=false"
}

// How host and ext reach the LoadBalancer range.
const (
	LBRouted    = "routed"    // through a node, LBNode, as a router outside would
	LBAnnounced = "announced" // on the link: whoever answers ARP or neighbour solicitation
)

// ExtIP, ControlPlaneIP are the primary addresses of these members.
func (p *Plan) ExtIP() netip.Addr          { return p.Members[0].IP() }
func (p *Plan) ControlPlaneIP() netip.Addr { return p.Members[1].IP() }

// HostIPs are the machine's own addresses on the node network.
func (p *Plan) HostIPs() []netip.Addr { return each(p.NodeCIDRs, hostIndex) }

// ServiceIP is the n-th address of the primary Service range.
func (p *Plan) ServiceIP(n int) netip.Addr { return Nth(p.ServiceCIDRs[0], n) }

// APIServer is the URL of the Kubernetes API.
func (p *Plan) APIServer() string {
	return "https://" + netip.AddrPortFrom(p.ControlPlaneIP(), 6443).String()
}

// Registry is where the control plane serves the image store.
func (p *Plan) Registry() netip.AddrPort { return netip.AddrPortFrom(p.ControlPlaneIP(), 5000) }

// Link is the host's interface on the node network.
func (p *Plan) Link() string { return "sbx-" + p.Name }

// Path is a file in the sandbox's folder.
func (p *Plan) Path(elem ...string) string {
	return filepath.Join(append([]string{p.Dir}, elem...)...)
}

// PKI, Log and State are files in the sandbox's folder: key material, what a
// program of a member printed, and what its supervisor last did with it.
func (p *Plan) PKI(file string) string              { return p.Path("pki", file) }
func (p *Plan) Log(member, program string) string   { return p.Path("log", member, program+".log") }
func (p *Plan) State(member, program string) string { return p.Path("state", member, program) }

// Stopped is the file whose existence keeps a program of a member from running.
func (p *Plan) Stopped(member, program string) string { return p.Path("stopped", member, program) }

// Kubeconfig is the administrator's.
func (p *Plan) Kubeconfig() string { return p.PKI("admin.kubeconfig") }

// Kube is the binary that holds every Kubernetes program.
func (p *Plan) Kube() string { return filepath.Join(p.Cache, "bin", "kube") }

// Images is the folder of the image store.
func (p *Plan) Images() string { return filepath.Join(p.Cache, "images") }

// Root is the folder that the distribution's packages are unpacked in.
func (p *Plan) Root() string { return filepath.Join(p.Cache, "root") }

// Plugins is the folder of the CNI programs that come with the container runtime.
func (p *Plan) Plugins() string {
	if p.Runtime != "" {
		return p.Runtime
	}
	return filepath.Join(p.Root(), "usr/lib/cni")
}

// Nodes are the members that run a kubelet.
func (p *Plan) Nodes() []Member { return p.Members[2:] }

// Member finds a member by name.
func (p *Plan) Member(name string) (Member, error) {
	for _, m := range p.Members {
		if m.Name == name {
			return m, nil
		}
	}
	return Member{}, fmt.Errorf("no member %q: there are %s", name, strings.Join(p.MemberNames(), ", "))
}

// MemberNames lists the members in their order.
func (p *Plan) MemberNames() []string {
	names := make([]string, len(p.Members))
	for i, m := range p.Members {
		names[i] = m.Name
	}
	return names
}

// GatesYAML is the feature gates as configuration files want them.
func (p *Plan) GatesYAML() string {
	return "{" + strings.ReplaceAll(strings.ReplaceAll(p.Gates, "=", ": "), ",", ", ") + "}"
}

// Environ is what programs of a member run with: the unpacked packages come
// before the machine's own programs.
func (p *Plan) Environ() []string {
	root, triple := p.Root(), Triple()
	path := []string{root + "/usr/bin", root + "/usr/sbin", "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"}
	if p.Runtime != "" {
		path = append([]string{p.Runtime}, path...)
	}
	lib := root + "/usr/lib/" + triple
	return []string{
		"PATH=" + strings.Join(path, ":"),
		"HOME=/", // no settings of whoever ran "up"
		"LD_LIBRARY_PATH=" + lib + ":" + root + "/lib/" + triple,
		"XTABLES_LIBDIR=" + lib + "/xtables",
	}
}

// Triple is the machine's name in the folders of Debian's libraries.
func Triple() string {
	switch runtime.GOARCH {
	case "arm64":
		return "aarch64-linux-gnu"
	default:
		return "x86_64-linux-gnu"
	}
}

const file = "plan.json"

// Save stores the plan in the sandbox's folder.
func (p *Plan) Save() error {
	b, err := json.MarshalIndent(p, "", " ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(p.Dir, 0o755); err != nil {
		return err
	}
	tmp := p.Path(file + ".new")
	if err := os.WriteFile(tmp, b, 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, p.Path(file))
}

// Load reads the plan that the sandbox in dir was started with.
func Load(dir string) (*Plan, error) {
	b, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		return nil, fmt.Errorf("no sandbox is up in %s: %w", dir, err)
	}
	p := &Plan{}
	if err := json.Unmarshal(b, p); err != nil {
		return nil, fmt.Errorf("read the sandbox's plan in %s: %w", dir, err)
	}
	return p, nil
}

// Equal tells whether two plans are the same in everything.
func (p *Plan) Equal(q *Plan) bool {
	a, errA := json.Marshal(p)
	b, errB := json.Marshal(q)
	return errA == nil && errB == nil && bytes.Equal(a, b)
}
