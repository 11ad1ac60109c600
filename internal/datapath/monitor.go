package datapath

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unsafe"

	"github.com/cilium/ebpf/ringbuf"

	"github.com/waggle-mesh/waggle/internal/datapath/kernel"
	"github.com/waggle-mesh/waggle/internal/datapath/names"
)

// Event is what the programs tell about a packet.
type Event = names.Event

// traceFor is how long the programs trace after whoever wants it has last said
// so.
const traceFor = 3 * time.Second

// Trace makes the programs tell of every new connection, until ctx ends and a
// few seconds more. Drops are told always.
func (r *Reader) Trace(ctx context.Context) error {
	for {
		now, err := kernel.Monotonic()
		if err == nil {
			err = r.maps["settings"].Put(uint32(nodeSettingSETTING_TRACE), uint64(now+traceFor))
		}
		if err != nil {
			return fmt.Errorf("switch traces on: %w", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(traceFor / 3):
		}
	}
}

// Monitor calls f for every event from now on until ctx ends. Each event
// reaches one reader alone.
func (r *Reader) Monitor(ctx context.Context, f func(Event)) error {
	began, err := kernel.Monotonic()
	if err != nil {
		return err
	}
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
		if len(record.RawSample) < int(unsafe.Sizeof(nodeEvent{})) {
			continue
		}
		// what nobody read has lain there since
		if e := r.eventFrom((*nodeEvent)(unsafe.Pointer(&record.RawSample[0]))); e.Time >= began {
			f(e)
		}
	}
}

func (r *Reader) eventFrom(e *nodeEvent) Event {
	event := Event{
		Time: time.Duration(e.Time), Type: names.EventTypes[e.Type], Reason: e.Reason, Hook: names.Hooks[e.Hook], Protocol: e.Proto,
		Source: endOf(e.Src, e.Sport), Destination: endOf(e.Dst, e.Dport),
		SourceIdentity: e.SrcIdentity, DestinationIdentity: e.DstIdentity,
		Endpoint: e.Endpoint, Interface: e.Ifindex, Length: e.Length,
	}
	if e.Rule != 0 {
		event.Rule = r.nameOf(e.Rule, names.Rule)
	}
	return event
}

// ClosedForAnother counts living connections that were closed, for more of one
// owner's than conntrack has room for. No packet was dropped by it.
const ClosedForAnother = uint8(nodeDropCLOSED_FOR_ANOTHER)

// Reason is the name of a reason for dropping packets.
func Reason(number uint8) string { return names.Reason(number) }

// Counter is a number of packets, or of what Reason says, since the maps were made.
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
