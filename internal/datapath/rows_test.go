package datapath

import (
	"testing"

	"github.com/waggle-mesh/waggle/internal/datapath/names"
)

// TestConnFlags are called as the programs call them.
func TestConnFlags(t *testing.T) {
	for flag, name := range map[nodeConnFlags]string{
		nodeConnFlagsCONN_REPLY: "reply", nodeConnFlagsCONN_DNAT: "dnat", nodeConnFlagsCONN_SNAT: "snat", nodeConnFlagsCONN_PROXY: "proxy",
		nodeConnFlagsCONN_FIN: "fin", nodeConnFlagsCONN_ANSWERED: "answered", nodeConnFlagsCONN_SNAT_PORT: "snat-port",
		nodeConnFlagsCONN_FIN_BACK: "fin-back", nodeConnFlagsCONN_RESET: "reset", nodeConnFlagsCONN_INSIDE: "inside",
		nodeConnFlagsCONN_AWAY: "away", nodeConnFlagsCONN_BACK_AWAY: "back-away",
		nodeConnFlagsCONN_UNSURE: "unsure",
	} {
		if got := names.Flags(uint32(flag), connFlags); got != name {
			t.Errorf("%d is %q, want %q", flag, got, name)
		}
	}
}
