package datapath

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unsafe"

	"github.com/cilium/ebpf/ringbuf"
)

// Event is what the programs tell about a packet.
type Event struct {
	Time                time.Duration // since the machine's start
	Type                string        // "drop", "trace", "verdict"
	Reason              uint8         // of a drop
	Hook                string        // the program that told it
	Protocol            uint8
	Source, Destination netip.AddrPort
	SourceIdentity      uint32
	DestinationIdentity uint32
	Endpoint            uint32 // whose policy was asked; 0: none
	Interface           uint32 // index
	Length              uint32 // bytes
}

// String is the line of `waggle monitor`.
func (e Event) String() string {
	what := "->"
	if e.Type == "drop" {
		what = "xx drop (" + Reason(e.Reason) + ")"
	}
	return fmt.Sprintf("%s %s endpoint %d, ifindex %d, identity %d->%d: %s -> %s %s, %d bytes",
		what, e.Hook, e.Endpoint, e.Interface, e.SourceIdentity, e.DestinationIdentity, e.Source, e.Destination,
		protocolName(e.Protocol), e.Length)
}

var (
	eventTypes = map[uint8]string{1: "drop", 2: "trace", 3: "verdict"}
	hookNames  = map[uint8]string{1: "from-pod", 2: "to-pod", 3: "from-uplink", 4: "to-uplink", 5: "socket"}
)

// Monitor calls f for every event until ctx ends. Each event reaches one
// reader alone.
func (r *Reader) Monitor(ctx context.Context, f func(Event)) error {
	events, err := ringbuf.NewReader(r.maps["events"])
	if err != nil {
		return fmt.Errorf("open events: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { events.Close() })
	defer stop()
	defer events.Close()
	var record ringbuf.Record
	for {
		err := events.ReadInto(&record)
		if errors.Is(err, ringbuf.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read events: %w", err)
		}
		if len(record.RawSample) >= int(unsafe.Sizeof(nodeEvent{})) {
			f(eventFrom((*nodeEvent)(unsafe.Pointer(&record.RawSample[0]))))
		}
	}
}

func eventFrom(e *nodeEvent) Event {
	return Event{
		Time: time.Duration(e.Time), Type: eventTypes[e.Type], Reason: e.Reason, Hook: hookNames[e.Hook], Protocol: e.Proto,
		Source: endOf(e.Src, e.Sport), Destination: endOf(e.Dst, e.Dport),
		SourceIdentity: e.SrcIdentity, DestinationIdentity: e.DstIdentity,
		Endpoint: e.Endpoint, Interface: e.Ifindex, Length: e.Length,
	}
}

// reasons are enum drop of bpf/maps.h, in Cilium's words where it has them.
var reasons = map[uint8]string{
	0: "Forwarded", 132: "Invalid source ip", 133: "Policy denied", 134: "Invalid packet", 135: "CT: Truncated or invalid header",
	142: "Unknown L4 protocol", 150: "Unknown L3 target address", 155: "CT: Map insertion failed", 156: "Invalid IPv6 extension header",
	157: "IP fragmentation not supported", 158: "Service backend not found", 167: "No mapping for NAT masquerade",
	168: "Unsupported protocol for NAT masquerade", 175: "First logical datagram fragment not found",
	176: "Forbidden ICMPv6 message", 181: "Policy denied by denylist", 196: "TTL exceeded",
	230: "No proxy listens", 231: "Source port reserved for the proxy", 232: "Proxy traffic that was not judged",
	233: "Proxy traffic from a port that is not reserved",
}

// Reason is the name of a reason for dropping packets.
func Reason(number uint8) string {
	if name, ok := reasons[number]; ok {
		return name
	}
	return fmt.Sprint(number)
}

// Counter is a number of packets since the maps were made.
type Counter struct {
	Reason         uint8  // 0: forwarded
	Direction      string // "ingress", "egress", as the pod sees it
	Packets, Bytes uint64
}

// Counters are those that are not zero, summed up over the CPUs.
func (r *Reader) Counters() ([]Counter, error) {
	var counters []Counter
	for index := range r.maps["metrics"].MaxEntries() {
		var perCPU []nodeMetric
		if err := r.maps["metrics"].Lookup(index, &perCPU); err != nil {
			return nil, fmt.Errorf("read metrics: %w", err)
		}
		c := Counter{Reason: uint8(index), Direction: []string{"ingress", "egress"}[index>>8&1]}
		for _, m := range perCPU {
			c.Packets += m.Packets
			c.Bytes += m.Bytes
		}
		if c.Packets > 0 {
			counters = append(counters, c)
		}
	}
	return counters, nil
}

func (r *Reader) metricRows() ([]Row, error) {
	counters, err := r.Counters()
	var rows []Row
	for _, c := range counters {
		rows = append(rows, Row{Reason(c.Reason) + " " + c.Direction, fmt.Sprintf("%d packets, %d bytes", c.Packets, c.Bytes)})
	}
	slices.SortFunc(rows, func(a, b Row) int { return strings.Compare(a.Key, b.Key) })
	return rows, err
}
