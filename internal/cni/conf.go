package cni

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"

	"github.com/waggle-mesh/waggle/internal/model"
)

// conf is the plugin's part of the conflist, as the runtime passes it.
type conf struct {
	types.PluginConf
	Socket string `json:"socket"` // the agent's
}

// supported are the versions of the specification that the plugin speaks.
var supported = version.PluginSupports("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")

// parseConf reads the configuration on standard input.
func parseConf(stdin []byte) (conf, *types.Error) {
	var c conf
	if err := json.Unmarshal(stdin, &c); err != nil {
		return conf{}, types.NewError(types.ErrDecodingFailure, "read network configuration: "+err.Error(), "")
	}
	if !filepath.IsAbs(c.Socket) {
		return conf{}, types.NewError(types.ErrInvalidNetworkConfig,
			fmt.Sprintf("network %q: socket %q is not an absolute path", c.Name, c.Socket), "")
	}
	if err := version.ParsePrevResult(&c.PluginConf); err != nil {
		return conf{}, types.NewError(types.ErrDecodingFailure, "read prevResult: "+err.Error(), "")
	}
	return c, nil
}

// addresses are those of the device in the result of the ADD before; nil
// without one.
func (c conf) addresses() ([]netip.Addr, *types.Error) {
	if c.PrevResult == nil {
		return nil, nil
	}
	result, err := types100.NewResultFromResult(c.PrevResult)
	if err != nil {
		return nil, types.NewError(types.ErrDecodingFailure, "read prevResult: "+err.Error(), "")
	}
	all := []netip.Addr{}
	for _, ip := range result.IPs {
		if a, ok := netip.AddrFromSlice(ip.Address.IP); ok {
			all = append(all, a.Unmap())
		}
	}
	return all, nil
}

// podOf finds the pod in CNI_ARGS: "K8S_POD_NAMESPACE=a;K8S_POD_NAME=b;...".
func podOf(args string) (pod model.Name, uid string, err *types.Error) {
	for _, pair := range strings.Split(args, ";") {
		key, value, _ := strings.Cut(pair, "=")
		switch key {
		case "K8S_POD_NAMESPACE":
			pod.Namespace = value
		case "K8S_POD_NAME":
			pod.Name = value
		case "K8S_POD_UID":
			uid = value
		}
	}
	if pod.Namespace == "" || pod.Name == "" {
		return pod, uid, types.NewError(types.ErrInvalidEnvironmentVariables,
			fmt.Sprintf("CNI_ARGS %q: want K8S_POD_NAMESPACE and K8S_POD_NAME", args), "")
	}
	return pod, uid, nil
}

// asError keeps the code of an error that has one.
func asError(code uint, err error) *types.Error {
	if err == nil {
		return nil
	}
	var known *types.Error
	if errors.As(err, &known) {
		return known
	}
	return types.NewError(code, err.Error(), "")
}
