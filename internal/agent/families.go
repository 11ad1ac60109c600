package agent

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/waggle-mesh/waggle/internal/model"
)

// FamilyChoice says whether pods have addresses of a family. The zero one leaves
// it to the ranges that nodes have.
type FamilyChoice int

// What can be chosen.
const (
	FamilyAuto FamilyChoice = iota
	FamilyOn                // a node without a range of the family waits for one
	FamilyOff               // ranges of the family do not count
)

var choices = []string{FamilyAuto: "auto", FamilyOn: "true", FamilyOff: "false"}

// String is the FamilyChoice as it is written: "auto", "true" or "false".
func (c FamilyChoice) String() string { return choices[c] }

// Set reads what String gives; it makes a FamilyChoice the value of a flag.
func (c *FamilyChoice) Set(text string) error {
	at := slices.Index(choices, text)
	if at < 0 {
		return fmt.Errorf("%q is neither auto nor true nor false", text)
	}
	*c = FamilyChoice(at)
	return nil
}

// Type is how a flag's help names the value.
func (c *FamilyChoice) Type() string { return "auto|true|false" }

// Families say of which families pods' addresses are.
type Families struct{ IPv4, IPv6 FamilyChoice }

// Check gives an error where pods would have no addresses.
func (f Families) Check() error {
	if f.IPv4 == FamilyOff && f.IPv6 == FamilyOff {
		return fmt.Errorf("--enable-ipv4 and --enable-ipv6 are both false: pods would have no addresses")
	}
	return nil
}

func (f Families) of(family model.Family) FamilyChoice {
	if family == model.IPv4 {
		return f.IPv4
	}
	return f.IPv6
}

// counting are those ranges that are not of a family that is off.
func (f Families) counting(ranges []netip.Prefix) []netip.Prefix {
	return slices.DeleteFunc(ranges, func(p netip.Prefix) bool { return f.of(model.FamilyOf(p.Addr())) == FamilyOff })
}

// missing is the first family that must be there and has no range.
func (f Families) missing(ranges []netip.Prefix) (family model.Family, missing bool) {
	for _, family := range []model.Family{model.IPv4, model.IPv6} {
		if f.of(family) == FamilyOn && !slices.ContainsFunc(ranges, func(p netip.Prefix) bool { return model.FamilyOf(p.Addr()) == family }) {
			return family, true
		}
	}
	return "", false
}

// Lost says, a sentence for each family that is off, which of the pods that run
// have addresses of it.
func (f Families) Lost(running []model.PodEndpoint) (out []string) {
	for _, family := range []model.Family{model.IPv4, model.IPv6} {
		var pods []string
		for _, e := range running {
			if slices.ContainsFunc(e.Addresses, func(ip netip.Addr) bool { return model.FamilyOf(ip) == family }) {
				pods = append(pods, e.Pod.String())
			}
		}
		if f.of(family) == FamilyOff && len(pods) > 0 {
			out = append(out, fmt.Sprintf("%s is switched off (enable-%s): nothing is routed to the %s addresses of %d pods that run, the first is %s",
				family, strings.ToLower(string(family)), family, len(pods), slices.Min(pods)))
		}
	}
	return out
}
