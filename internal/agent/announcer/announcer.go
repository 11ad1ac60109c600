// Package announcer says to a node's neighbours which addresses it has, those of
// Services that it stands for.
//
//	Announcements ─▶ run for the Lease ─▶ held ─▶ the map is answered from ─▶ claim it
//	 its end      ─▶ give it up ─▶ another holds it, or nobody wants to ─▶ out of the map
//
// It promises that what is in the map stays, and is answered, while no agent
// runs; that of several nodes one has an address, as long as they hear each
// other; and that an address is nobody's only if nobody may have it.
//
// What a node may announce, others decide: see package announcement and the
// agent's graph.
package announcer

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waggle-mesh/waggle/internal/announcement"
	"github.com/waggle-mesh/waggle/internal/datapath"
	"github.com/waggle-mesh/waggle/internal/datapath/announce"
	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/kube"
	"github.com/waggle-mesh/waggle/internal/link"
	"github.com/waggle-mesh/waggle/internal/model"
)

// leaseLabel is on the Leases of announcements.
const leaseLabel = "waggle.io/l2-announcement"

// IsLease tells whether a Lease is one of announcements.
func IsLease(l *coordinationv1.Lease) bool { return metav1.HasLabel(l.ObjectMeta, leaseLabel) }

// Node is what an Announcer must know of its node's agent.
type Node struct {
	Name string
	// Tell has the graph's owner call f, some time.
	Tell func(f func())
	// There tells whether a Service is there; the graph's owner is asked.
	There func(service string) bool
	Log   *slog.Logger
}

// Announcer announces. The graph's owner calls its methods, but for Run and
// Resign. A nil Announcer announces nothing.
type Announcer struct {
	node       Node
	options    Options
	elections  *kube.Elections
	link       *link.Node
	responder  *announce.Responder
	membership *link.Membership
	earlier    []netip.Addr                             // what an earlier agent announced
	rows       map[string]map[string]model.Announcement // by Lease and Service; two Services may have one Lease
	answered   map[string]map[netip.Addr]bool           // by Lease, what is in the map; true: this agent has claimed it
	tenures    map[string]kube.Tenure                   // of the Leases that this node holds
}

// New makes an Announcer that reads Leases, if it is to; else nil.
func New(feeds *kube.Feeds, o Options, node Node) *Announcer {
	if !o.Enabled {
		return nil
	}
	n := &Announcer{node: node, options: o, rows: map[string]map[string]model.Announcement{}, answered: map[string]map[netip.Addr]bool{}, tenures: map[string]kube.Tenure{}}
	n.elections = kube.NewElections(feeds, kube.ElectionOptions{
		Namespace: o.Namespace, Label: leaseLabel, Identity: node.Name, Duration: o.Duration, Deadline: o.Deadline, Retry: o.Retry,
		Tell: func(lease string, t kube.Tenure) { node.Tell(func() { n.told(lease, t) }) },
		Log:  node.Log,
	})
	return n
}

// Open finds what an earlier agent announced. On a node without neighbours it
// gives nil.
func (n *Announcer) Open(path *datapath.Node, l *link.Node) (_ *Announcer, err error) {
	if n == nil {
		return nil, nil
	}
	if _, err := l.MAC(); err != nil {
		n.node.Log.Warn("nothing is announced", "error", err)
		return nil, nil
	}
	n.link, n.membership = l, l.Membership()
	if n.responder, err = announce.Open(path, l.Uplink().Index); err != nil {
		return nil, err
	}
	n.earlier, err = n.responder.Addresses()
	return n, err
}

// Start answers neighbours, or ends what an earlier agent has begun. It is
// called after the data path's Commit.
func (n *Announcer) Start(bpffs string) error {
	if n == nil {
		return Stop(bpffs)
	}
	return n.responder.Start()
}

// Stop takes away what agents of the node have announced, below a bpffs; empty:
// the one that /proc/mounts names.
func Stop(bpffs string) error {
	announced, err := announce.Stop(bpffs)
	return errors.Join(err, link.RemoveMemberships(announced))
}

// Close lets go of what was opened.
func (n *Announcer) Close() {
	if n != nil {
		n.responder.Close()
		n.membership.Close()
	}
}

// Run takes part in the elections until ctx ends.
func (n *Announcer) Run(ctx context.Context) {
	if n != nil {
		n.elections.Run(ctx)
	}
}

// Begin is called when the rows are what they should be.
func (n *Announcer) Begin() {
	if n == nil {
		return
	}
	for _, ip := range n.earlier {
		if !n.answers(ip) {
			n.warn(n.withdraw(ip))
		}
	}
	n.earlier = nil
	n.elections.Begin()
}

// answers tells whether an address is announced, by whichever Lease.
func (n *Announcer) answers(ip netip.Addr) bool {
	for _, addresses := range n.answered {
		if _, ok := addresses[ip]; ok {
			return true
		}
	}
	return false
}

// Changed is told of rows.
func (n *Announcer) Changed(all []flow.Change[model.Announcement]) {
	if n == nil {
		return
	}
	for _, c := range all {
		service := c.New.Service
		if !c.HasNew {
			service = c.Old.Service
		}
		lease := announcement.Lease(service)
		rows := n.rows[lease]
		if !c.HasNew {
			if delete(rows, c.Key); len(rows) == 0 {
				delete(n.rows, lease)
				n.elections.Leave(lease, !n.node.There(c.Key))
				continue
			}
		} else {
			if rows == nil {
				rows = map[string]model.Announcement{}
				n.rows[lease] = rows
			}
			rows[c.Key] = c.New
		}
		n.elections.Want(lease, n.inherit(lease))
		if t, ok := n.tenures[lease]; ok {
			t.Taken = false
			n.hold(lease, t)
		}
	}
}

// Gone is told of Services that are gone: so shall be their Leases, unless they
// are other Services' as well.
func (n *Announcer) Gone(service model.Name) {
	if n == nil {
		return
	}
	if lease := announcement.Lease(service); len(n.rows[lease]) == 0 {
		n.elections.Leave(lease, true)
	}
}

// inherit finds out whether an earlier agent has announced what a Lease is
// about.
func (n *Announcer) inherit(lease string) (led bool) {
	for _, ip := range n.addresses(lease) {
		if !slices.Contains(n.earlier, ip) {
			continue
		}
		led = true
		if n.answered[lease] == nil {
			n.answered[lease] = map[netip.Addr]bool{}
		}
		if _, known := n.answered[lease][ip]; !known {
			n.answered[lease][ip] = false
		}
	}
	return led
}

// addresses are those that a Lease is about.
func (n *Announcer) addresses(lease string) (all []netip.Addr) {
	for _, row := range n.rows[lease] {
		all = append(all, row.Addresses...)
	}
	return all
}

// Resign has other nodes announce everything at once, when the agent of a node
// ends that is to end as well. Run has returned, and nobody owns the graph any
// more. Other agents are followed by another soon: until that runs for its
// Leases they are its own.
func (n *Announcer) Resign() {
	if n == nil {
		return
	}
	mac, err := n.link.MAC()
	n.warn(err)
	for _, addresses := range n.answered {
		for ip := range addresses {
			n.warn(n.responder.Set(ip, mac, time.Time{})) // whoever claims it has it
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), n.options.Deadline)
	defer cancel()
	n.elections.Resign(ctx)
}
