package cni

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
)

// TestGarbage: whatever the runtime passes, the answer is an error in the
// specification's JSON, with the code that it has for that.
func TestGarbage(t *testing.T) {
	const good = `{"cniVersion": "1.1.0", "name": "waggle", "type": "waggle-cni", "socket": "/nothing/there"}`
	for _, c := range []struct {
		what  string
		env   string // replaces
		stdin string
		code  uint
		says  string
	}{
		{"no JSON", "", "{", types.ErrDecodingFailure, "network config"},
		{"nothing", "", "", types.ErrDecodingFailure, "network config"},
		{"an array", "", "[]", types.ErrDecodingFailure, "network config"},
		{"no name", "", `{"cniVersion": "1.1.0"}`, types.ErrInvalidNetworkConfig, "name"},
		{"no socket", "", `{"cniVersion": "1.1.0", "name": "n"}`, types.ErrInvalidNetworkConfig, "socket"},
		{"socket is a number", "", `{"cniVersion": "1.1.0", "name": "n", "socket": 7}`, types.ErrDecodingFailure, "socket"},
		{"future version", "", strings.Replace(good, "1.1.0", "9.0.0", 1), types.ErrIncompatibleCNIVersion, "9.0.0"},
		{"version is none", "", strings.Replace(good, "1.1.0", "x", 1), types.ErrIncompatibleCNIVersion, "x"},
		{"second in a chain", "", strings.Replace(good, "{", `{"prevResult": {"cniVersion": "1.1.0"},`, 1), types.ErrInvalidNetworkConfig, "first"},
		{"prevResult is none", "", strings.Replace(good, "{", `{"prevResult": {"cniVersion": "1.1.0", "ips": 3},`, 1), types.ErrDecodingFailure, "prevResult"},
		{"unknown command", "CNI_COMMAND=JUMP", good, types.ErrInvalidEnvironmentVariables, "JUMP"},
		{"no container", "CNI_CONTAINERID=", good, types.ErrInvalidEnvironmentVariables, "CNI_CONTAINERID"},
		{"container is a path", "CNI_CONTAINERID=../../etc", good, types.ErrInvalidEnvironmentVariables, "invalid characters"},
		{"device is a path", "CNI_IFNAME=../x", good, types.ErrInvalidEnvironmentVariables, "interface name"},
		{"no such namespace", "CNI_NETNS=/nothing/there", good, types.ErrInvalidNetNS, "/nothing/there"},
		{"namespace is a file", "CNI_NETNS=/etc/hostname", good, types.ErrInvalidNetNS, "is none"},
		{"no pod", "CNI_ARGS=K8S_POD_NAME=a", good, types.ErrInvalidEnvironmentVariables, "K8S_POD_NAMESPACE"},
	} {
		p := &pod{node: &node{t: t}, container: "c1", netns: newNamespace(t)}
		plugin := p.command("ADD", c.stdin)
		plugin.Env = append(plugin.Env, c.env)
		stdout, err := outcome(plugin)
		if code := codeOf(err); code != c.code || !strings.Contains(string(stdout), c.says) {
			t.Errorf("%s: code %d, want %d and %q: %s", c.what, code, c.code, c.says, stdout)
		}
	}
}

func TestVersion(t *testing.T) {
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), "WAGGLE_TEST_ROLE=plugin", "CNI_COMMAND=VERSION")
	stdout, err := c.Output()
	var said struct {
		CNIVersion        string   `json:"cniVersion"`
		SupportedVersions []string `json:"supportedVersions"`
	}
	if err != nil || json.Unmarshal(stdout, &said) != nil || said.CNIVersion != "1.1.0" || len(said.SupportedVersions) != 5 {
		t.Errorf("%s, error %v", stdout, err)
	}
}

// TestOldVersion: the result is in the words of the version that was asked in.
func TestOldVersion(t *testing.T) {
	n := newNode(t, dual)
	n.start()
	for _, version := range []string{"0.3.1", "0.4.0", "1.0.0"} {
		p := n.pod("c" + version)
		stdout, err := outcome(p.command("ADD", strings.Replace(n.conf(""), "1.1.0", version, 1)))
		if err != nil || !strings.Contains(strings.ReplaceAll(string(stdout), " ", ""), `"cniVersion":"`+version+`"`) {
			t.Errorf("%s: %s, error %v", version, stdout, err)
		}
	}
}

// FuzzConf: no configuration makes the parser panic, and what it lets through
// is fit for use.
func FuzzConf(f *testing.F) {
	f.Add([]byte(`{"cniVersion": "1.1.0", "name": "n", "type": "waggle-cni", "socket": "/run/x"}`), "K8S_POD_NAMESPACE=a;K8S_POD_NAME=b")
	f.Add([]byte(`{"cniVersion": "1.0.0", "socket": "/x", "prevResult": {"cniVersion": "1.0.0", "ips": [{"address": "10.0.0.1/32"}]}}`), "")
	f.Add([]byte(`{"cniVersion": "0.2.0", "socket": "/x", "prevResult": {"ip4": {"ip": "10.0.0.1/24"}}}`), ";;=;K8S_POD_UID")
	f.Add([]byte(`{"socket": "/x", "cni.dev/valid-attachments": [{"containerID": "a", "ifname": "b"}]}`), "=")
	f.Fuzz(func(t *testing.T, stdin []byte, args string) {
		if pod, _, err := podOf(args); err == nil && (pod.Name == "" || pod.Namespace == "") {
			t.Errorf("pod %v of %q", pod, args)
		}
		c, err := parseConf(stdin)
		if err != nil {
			if err.Code == 0 || err.Msg == "" {
				t.Errorf("error %+v", err)
			}
			return
		}
		if !strings.HasPrefix(c.Socket, "/") {
			t.Errorf("socket %q", c.Socket)
		}
		addresses, err := c.addresses()
		if err == nil && (addresses == nil) != (c.PrevResult == nil) {
			t.Errorf("addresses %v of %+v", addresses, c.PrevResult)
		}
		for _, a := range addresses {
			if !a.IsValid() || a.Is4In6() {
				t.Errorf("address %v", a)
			}
		}
	})
}
