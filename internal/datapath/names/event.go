package names

import (
	"fmt"
	"net/netip"
	"time"
)

// Event is what the programs tell about a packet.
type Event struct {
	Time                time.Duration // since the machine's start
	Type                string        // "drop", "trace", "close"
	Reason              uint8         // of a drop
	Hook                string        // the program that told it
	Protocol            uint8
	Source, Destination netip.AddrPort
	SourceIdentity      uint32
	DestinationIdentity uint32
	Endpoint            uint32 // whose policy was asked; 0: none
	Interface           uint32 // index
	Length              uint32 // bytes
	Rule                string // that decided; empty: none
}

// String is the line of `waggle monitor`.
func (e Event) String() string {
	what := "->"
	switch e.Type {
	case "drop":
		what = "xx drop (" + Reason(e.Reason) + ")"
	case "close":
		what = "-- closed for another connection of the same pod, not a packet;"
	}
	by := ""
	if e.Rule != "" {
		by = " by " + e.Rule
	}
	return fmt.Sprintf("%s %s endpoint %d, ifindex %d, identity %d->%d: %s -> %s %s, %d bytes%s",
		what, e.Hook, e.Endpoint, e.Interface, e.SourceIdentity, e.DestinationIdentity, e.Source, e.Destination,
		Protocol(e.Protocol), e.Length, by)
}

// Words for enum event_type and enum hook of bpf/maps.h.
var (
	EventTypes = map[uint8]string{1: "drop", 2: "trace", 3: "close"}
	Hooks      = map[uint8]string{1: "from-pod", 2: "to-pod", 3: "from-uplink", 4: "to-uplink"}
)
