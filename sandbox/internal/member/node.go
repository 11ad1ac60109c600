package member

import (
	"bytes"
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/waggle-mesh/waggle/sandbox/internal/plan"
)

//go:embed conf
var conf embed.FS

// expand fills in a template, of ours or a user's conflist, for a node.
func expand(name string, text []byte, p *plan.Plan, n plan.Member) ([]byte, error) {
	t, err := template.New(name).Parse(string(text))
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = t.Execute(&b, struct {
		Plan *plan.Plan
		Node plan.Member
	}{p, n})
	return b.Bytes(), err
}

func writeFile(path string, b []byte, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	_ = os.Remove(path) // it may be running, and then could not be written to
	return os.WriteFile(path, b, mode)
}

// kubeletSysctls are settings that the kubelet insists on. It alone sees them,
// so that the machine's stay as they are.
var kubeletSysctls = map[string]string{
	"vm/overcommit_memory": "1", "vm/panic_on_oom": "0",
	"kernel/panic": "10", "kernel/panic_on_oops": "1",
	"kernel/keys/root_maxkeys": "1000000", "kernel/keys/root_maxbytes": "25000000",
}

// withSysctls runs the rest of its arguments in a mount namespace whose /proc is
// its own, with the above in place, and which shares all the rest with the node.
var withSysctls = []string{"unshare", "-m", "--propagation", "unchanged", "sh", "-c",
	`mount --make-private /proc; cd /run/sysctl; for f in $(find . -type f); do mount --bind $f /proc/sys/$f; done; cd /; exec "$@"`, "-"}

// prepareNode writes a node's configuration.
func prepareNode(p *plan.Plan, n plan.Member) error {
	if err := nodeFiles(p, n); err != nil {
		return err
	}
	if err := pluginFiles(p, n); err != nil {
		return err
	}
	if p.CNIConf != plan.PtpCNI {
		return nil
	}
	if out, err := exec.Command(find("nft"), "-f", "/etc/kubernetes/masquerade.nft").CombinedOutput(); err != nil {
		return fmt.Errorf("masquerade pods: %w: %s", err, out)
	}
	return nil
}

func startNode(p *plan.Plan, n plan.Member, s *supervisor) {
	s.start("containerd", "containerd")
	s.start("kubelet", append(withSysctls, p.Kube(), "kubelet",
		"--config=/etc/kubernetes/kubelet.yaml",
		"--kubeconfig="+p.PKI(n.Name+".kubeconfig"),
		"--hostname-override="+n.Name,
		"--node-ip="+n.IPList(),
		"--v=2")...)
	if p.KubeProxy != "none" {
		s.start("kube-proxy", p.Kube(), "kube-proxy", "--config=/etc/kubernetes/kube-proxy.yaml", "--v=1")
	}
}

func nodeFiles(p *plan.Plan, n plan.Member) error {
	for file, name := range map[string]string{
		"/etc/hosts":                                  "hosts", // containerd cannot read an IPv6 address in hosts.toml
		"/etc/containerd/config.toml":                 "containerd.toml",
		"/etc/containerd/certs.d/_default/hosts.toml": "hosts.toml",
		"/etc/kubernetes/kubelet.yaml":                "kubelet.yaml",
		"/etc/kubernetes/kube-proxy.yaml":             "kube-proxy.yaml",
		"/etc/kubernetes/masquerade.nft":              "masquerade.nft",
	} {
		text, err := conf.ReadFile("conf/" + name)
		if err != nil {
			return err
		}
		b, err := expand(name, text, p, n)
		if err != nil {
			return err
		}
		if err := writeFile(file, b, 0o644); err != nil {
			return err
		}
	}
	for k, v := range kubeletSysctls {
		if err := writeFile(filepath.Join("/run/sysctl", k), []byte(v+"\n"), 0o644); err != nil {
			return err
		}
	}
	return writeFile("/etc/kubernetes/resolv.conf", nil, 0o644) // what pods of dnsPolicy Default get
}

// pluginFiles installs CNI programs and their configuration.
func pluginFiles(p *plan.Plan, n plan.Member) error {
	for _, d := range []string{"/opt/cni/bin", "/etc/cni/net.d"} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	names := []string{"loopback"} // containerd always needs it
	if p.CNIConf == plan.PtpCNI {
		names = append(names, "ptp", "host-local", "portmap")
	}
	var bins []string
	for _, n := range names {
		bins = append(bins, filepath.Join(p.Plugins(), n))
	}
	if p.CNIBin != "" {
		more, err := filepath.Glob(filepath.Join(p.CNIBin, "*"))
		if err != nil {
			return err
		}
		bins = append(bins, more...)
	}
	for _, f := range bins {
		b, err := os.ReadFile(f)
		if err != nil {
			return fmt.Errorf("read CNI program: %w", err)
		}
		if err := writeFile(filepath.Join("/opt/cni/bin", filepath.Base(f)), b, 0o755); err != nil {
			return err
		}
	}
	if p.CNIConf == plan.NoCNI {
		return nil
	}
	name := p.CNIConf
	text, err := conf.ReadFile("conf/ptp.conflist")
	if name != plan.PtpCNI {
		text, err = os.ReadFile(name)
	}
	if err != nil {
		return fmt.Errorf("read CNI configuration: %w", err)
	}
	b, err := expand(name, text, p, n)
	if err != nil {
		return fmt.Errorf("fill in CNI configuration: %w", err)
	}
	return writeFile("/etc/cni/net.d/10-sandbox"+extension(name), b, 0o644)
}

func extension(name string) string {
	if strings.HasSuffix(name, ".conf") {
		return ".conf"
	}
	return ".conflist"
}
