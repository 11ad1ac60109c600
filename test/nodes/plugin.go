package nodes

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// AddPluggedPod makes a pod of the namespace "default" as a container runtime
// does: a network namespace, then the CNI plugin of the only configuration in
// confDir. The Pod knows no more of itself than its addresses.
func (n *Node) AddPluggedPod(t testing.TB, name, binDir, confDir string) *Pod {
	t.Helper()
	m, err := n.ground.newMachine(t, name, filepath.Join(n.Root, "pods", name))
	if err != nil {
		t.Fatalf("make pod %s on %s: %v", name, n.Name, err)
	}
	p := &Pod{Machine: *m, Node: n}
	if err := p.plug(binDir, confDir); err != nil {
		t.Fatalf("plug pod %s into %s: %v", name, n.Name, err)
	}
	return p
}

// plug has the plugin give the pod its network.
func (p *Pod) plug(binDir, confDir string) error {
	plugin, err := pluginOf(confDir)
	if err != nil {
		return err
	}
	in, err := json.Marshal(plugin)
	if err != nil {
		return err
	}
	cmd := exec.Command(filepath.Join(binDir, plugin["type"].(string)))
	cmd.Stdin = bytes.NewReader(in)
	cmd.Env = append(os.Environ(), "CNI_COMMAND=ADD", "CNI_CONTAINERID=container-"+p.Name, "CNI_IFNAME=eth0", "CNI_PATH="+binDir,
		"CNI_NETNS="+p.Namespace(), "CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME="+p.Name)
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("run the plugin: %w\n%s", err, out)
	}
	var result struct {
		IPs []struct{ Address netip.Prefix }
	}
	if err := json.Unmarshal(out, &result); err != nil {
		return fmt.Errorf("read the plugin's answer: %w", err)
	}
	for _, ip := range result.IPs {
		if a := ip.Address.Addr(); a.Is4() {
			p.Addr4 = a
		} else {
			p.Addr6 = a
		}
	}
	return nil
}

// pluginOf reads the configuration of the first plugin in a directory's list.
func pluginOf(confDir string) (map[string]any, error) {
	conf, err := filepath.Glob(filepath.Join(confDir, "*.conflist"))
	if err != nil || len(conf) != 1 {
		return nil, fmt.Errorf("%s has %d configurations, not one", confDir, len(conf))
	}
	text, err := os.ReadFile(conf[0])
	if err != nil {
		return nil, err
	}
	var list struct {
		Name, CNIVersion string
		Plugins          []map[string]any
	}
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("read %s: %w", conf[0], err)
	}
	plugin := list.Plugins[0]
	plugin["name"], plugin["cniVersion"] = list.Name, list.CNIVersion
	return plugin, nil
}
