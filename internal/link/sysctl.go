package link

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/waggle-mesh/waggle/internal/model"
)

// A sysctl is a setting below /proc/sys/net and the value it must have.
type sysctl struct{ path, value string }

// SysctlError is a setting that does not have the value it must have.
type SysctlError struct {
	Name        string // as sysctl(8) takes it
	Want, Found string // Found is "absent" where the kernel has no such setting
	Err         error  // why it was not written; nil if the kernel took another value
}

func (e *SysctlError) Error() string {
	text := fmt.Sprintf("sysctl %s: want %q, found %q", e.Name, e.Want, e.Found)
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

func (e *SysctlError) Unwrap() error { return e.Err }

// Ranges of ports that sockets choose their own from. The node's includes the
// ports that proxied connections keep the client's address with; the pods'
// leaves them out: otherwise the kernel clamps IP_LOCAL_PORT_RANGE without a
// word, and answers go to the pod instead of the proxy.
var (
	nodePorts = fmt.Sprintf("%d %d", firstPort, model.ReservedPorts.Last)
	podPorts  = fmt.Sprintf("%d %d", firstPort, model.ReservedPorts.First-1)
)

const firstPort = 32768

const absent = "absent"

// apply sets what differs and reads it back. All are tried.
func apply(settings []sysctl) error {
	var errs []error
	for _, s := range settings {
		errs = append(errs, s.apply())
	}
	return errors.Join(errs...)
}

// check is apply without setting anything.
func check(settings []sysctl) error {
	var errs []error
	for _, s := range settings {
		if found := s.read(); found != s.value {
			errs = append(errs, &SysctlError{Name: s.name(), Want: s.value, Found: found})
		}
	}
	return errors.Join(errs...)
}

func (s sysctl) apply() error {
	found := s.read()
	if found == s.value {
		return nil
	}
	err := os.WriteFile(s.file(), []byte(s.value), 0)
	if now := s.read(); now != s.value {
		if pathErr := (*fs.PathError)(nil); errors.As(err, &pathErr) {
			err = pathErr.Err
		}
		return &SysctlError{Name: s.name(), Want: s.value, Found: now, Err: err}
	}
	return nil
}

func (s sysctl) file() string { return filepath.Join("/proc/sys", s.path) }

// read gives the value with single spaces between numbers.
func (s sysctl) read() string {
	text, err := os.ReadFile(s.file())
	if err != nil {
		return absent
	}
	return strings.Join(strings.Fields(string(text)), " ")
}

// name has dots for slashes, unless a device's name has dots.
func (s sysctl) name() string {
	if strings.Contains(s.path, ".") {
		return s.path
	}
	return strings.ReplaceAll(s.path, "/", ".")
}

// nodeSettings are those of the node, in the order in which to make them so.
func nodeSettings(uplink string, families []family) []sysctl {
	settings := []sysctl{{"net/ipv4/ip_local_port_range", nodePorts}}
	if slices.Contains(families, ipv4) {
		settings = append(settings, sysctl{"net/ipv4/ip_forward", "1"},
			// What the data path gives back to the stack, by lo, may have the
			// ingress address as its source.
			sysctl{"net/ipv4/conf/lo/accept_local", "1"},
			// Answers to what has the proxy's mark must not have it: the
			// proxy's rule would lead them back.
			sysctl{"net/ipv4/tcp_fwmark_accept", "0"},
			sysctl{"net/ipv4/fwmark_reflect", "0"})
		for _, device := range []string{"all", "default", uplink} {
			settings = append(settings, v4Device(device)...)
		}
	}
	if slices.Contains(families, ipv6) {
		settings = append(settings,
			sysctl{"net/ipv6/conf/all/disable_ipv6", "0"},
			sysctl{"net/ipv6/conf/lo/disable_ipv6", "0"},
			sysctl{"net/ipv4/tcp_fwmark_accept", "0"}, // of both families
			sysctl{"net/ipv6/fwmark_reflect", "0"})
		// A forwarding node stops to listen to router advertisements, and
		// loses its default route with the last one, unless told otherwise.
		ra := sysctl{"net/ipv6/conf/" + uplink + "/accept_ra", "2"}
		if ra.read() != "0" {
			settings = append(settings, ra)
		}
		settings = append(settings, sysctl{"net/ipv6/conf/all/forwarding", "1"})
	}
	return settings
}

// v4Device are the settings of a node's device. Redirected packets carry
// source addresses and marks for which the reverse path is another: it is not
// looked at, and not looked up by mark. Pods get no ICMP redirects to each
// other, which they could not use.
func v4Device(device string) []sysctl {
	conf := "net/ipv4/conf/" + device + "/"
	return []sysctl{{conf + "rp_filter", "0"}, {conf + "src_valid_mark", "0"}, {conf + "send_redirects", "0"}}
}

// hostEndSettings are those of the node's end of a pod's link. It has no
// address of its own and takes no orders from the pod.
func hostEndSettings(device string, families []family) []sysctl {
	var settings []sysctl
	if slices.Contains(families, ipv4) {
		settings = append(v4Device(device), sysctl{"net/ipv4/conf/" + device + "/forwarding", "1"})
	}
	conf := "net/ipv6/conf/" + device + "/"
	if slices.Contains(families, ipv6) {
		return append(settings, sysctl{conf + "disable_ipv6", "0"}, sysctl{conf + "addr_gen_mode", "1"},
			sysctl{conf + "accept_ra", "0"}, sysctl{conf + "forwarding", "1"})
	}
	return append(settings, withoutIPv6(device)...)
}

// podSettings are those of a pod that starts. A pod may ask for another range
// of ports later, so CheckPod looks at its device alone.
func podSettings(device string, families []family) []sysctl {
	settings := []sysctl{{"net/ipv4/ip_local_port_range", podPorts}}
	if slices.Contains(families, ipv6) {
		settings = append(settings, sysctl{"net/ipv6/conf/all/disable_ipv6", "0"})
	}
	return append(settings, deviceSettings(device, families)...)
}

// deviceSettings are those of a pod's device. Its addresses are the node's
// affair: no duplicate address detection, which would delay the first packet
// by a second, and no router's advice.
func deviceSettings(device string, families []family) []sysctl {
	if !slices.Contains(families, ipv6) {
		return withoutIPv6(device)
	}
	conf := "net/ipv6/conf/" + device + "/"
	return []sysctl{{conf + "disable_ipv6", "0"}, {conf + "accept_dad", "0"}, {conf + "dad_transmits", "0"},
		{conf + "accept_ra", "0"}, {conf + "router_solicitations", "0"}}
}

// withoutIPv6 keeps a device of an IPv4 cluster from chattering, where the
// kernel has IPv6 at all.
func withoutIPv6(device string) []sysctl {
	off := sysctl{"net/ipv6/conf/" + device + "/disable_ipv6", "1"}
	if off.read() == absent {
		return nil
	}
	return []sysctl{off}
}
