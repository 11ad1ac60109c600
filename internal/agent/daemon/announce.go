package daemon

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/waggle-mesh/waggle/internal/announcement"
	"github.com/waggle-mesh/waggle/internal/datapath/announce"
	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/kube"
	"github.com/waggle-mesh/waggle/internal/link"
	"github.com/waggle-mesh/waggle/internal/model"
)

// AnnounceOptions say how nodes decide who announces a Service's addresses.
type AnnounceOptions struct {
	Enabled   bool
	Namespace string        // of the Leases
	Duration  time.Duration // how long a node may be silent until another takes its place; whole seconds
	Deadline  time.Duration // how long a renewal may take
	Retry     time.Duration // after a renewal that failed
}

// Check says which of them cannot be.
func (o AnnounceOptions) Check() error {
	switch {
	case !o.Enabled:
		return nil
	case o.Duration < time.Second || o.Duration%time.Second != 0:
		return errors.New("the Leases of L2 announcements last whole seconds: --l2-announcements-lease-duration")
	case o.Deadline <= 0 || o.Deadline >= o.Duration:
		return errors.New("--l2-announcements-renew-deadline must be less than --l2-announcements-lease-duration")
	case o.Retry <= 0 || o.Retry >= o.Deadline:
		return errors.New("--l2-announcements-retry-period must be less than --l2-announcements-renew-deadline")
	}
	return nil
}

// leaseLabel is on the Leases of announcements.
const leaseLabel = "waggle.io/l2-announcement"

// announcer says to the node's neighbours which addresses it has. The graph's
// owner calls its methods.
//
//	Announcements ─▶ run for the Lease ─▶ held ─▶ the map is answered from ─▶ claim it
//	 its end      ─▶ give it up ─▶ another holds it, or nobody wants to ─▶ out of the map
//
// What is in the map stays, and is answered, while no agent runs. A nil
// announcer announces nothing.
type announcer struct {
	a          *node
	elections  *kube.Elections
	responder  *announce.Responder
	membership *link.Membership
	earlier    []netip.Addr                             // what an earlier agent announced
	rows       map[string]map[string]model.Announcement // by Lease and Service; two Services may have one Lease
	answered   map[string]map[netip.Addr]bool           // by Lease, what is in the map; true: this agent has claimed it
	tenures    map[string]kube.Tenure                   // of the Leases that this node holds
}

// feedAnnouncements prepares the feeds of announcements.
func (a *node) feedAnnouncements() {
	if !a.options.Announce.Enabled {
		return
	}
	kube.Feed(a.feeds, kube.AnnouncementPolicies, kube.Table[kube.AnnouncementPolicy](a.in.Policies), kube.Selection{})
	o := a.options.Announce
	a.announcer = &announcer{a: a, rows: map[string]map[string]model.Announcement{}, answered: map[string]map[netip.Addr]bool{}, tenures: map[string]kube.Tenure{}}
	a.announcer.elections = kube.NewElections(a.feeds, kube.ElectionOptions{
		Namespace: o.Namespace, Label: leaseLabel, Identity: a.options.Node, Duration: o.Duration, Deadline: o.Deadline, Retry: o.Retry,
		Tell: func(lease string, t kube.Tenure) { a.tell(func() { a.announcer.told(lease, t) }) },
		Log:  a.log,
	})
}

// openAnnouncer finds what an earlier agent announced.
func (a *node) openAnnouncer() (err error) {
	if a.announcer == nil {
		return nil
	}
	if _, err := a.link.MAC(); err != nil {
		a.log.Warn("nothing is announced", "error", err)
		a.announcer = nil
		return nil
	}
	n := a.announcer
	n.membership = a.link.Membership()
	if n.responder, err = announce.Open(a.datapath, a.link.Uplink().Index); err != nil {
		return err
	}
	n.earlier, err = n.responder.Addresses()
	return err
}

// close lets go of what was opened.
func (n *announcer) close() {
	if n != nil {
		n.responder.Close()
		n.membership.Close()
	}
}

// answerNeighbours begins to, or ends what an earlier agent has begun. It is
// called after the data path's Commit.
func (a *node) answerNeighbours() error {
	if a.announcer == nil {
		return stopAnnouncing(a.options.BPFFS)
	}
	return a.announcer.responder.Start()
}

// stopAnnouncing takes away what agents of the node have announced.
func stopAnnouncing(bpffs string) error {
	announced, err := announce.Stop(bpffs)
	return errors.Join(err, link.RemoveMemberships(announced))
}

// run takes part in the elections until ctx ends.
func (n *announcer) run(ctx context.Context) {
	if n != nil {
		n.elections.Run(ctx)
	}
}

// begin is called when the rows are what they should be.
func (n *announcer) begin() {
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
func (n *announcer) answers(ip netip.Addr) bool {
	for _, addresses := range n.answered {
		if _, ok := addresses[ip]; ok {
			return true
		}
	}
	return false
}

// changed is told of rows.
func (n *announcer) changed(all []flow.Change[model.Announcement]) {
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
				_, there := n.a.in.Services.Get(c.Key)
				n.elections.Leave(lease, !there)
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

// inherit finds out whether an earlier agent has announced what a Lease is
// about.
func (n *announcer) inherit(lease string) (led bool) {
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
func (n *announcer) addresses(lease string) (all []netip.Addr) {
	for _, row := range n.rows[lease] {
		all = append(all, row.Addresses...)
	}
	return all
}

// told takes note of what became of a Lease.
func (n *announcer) told(lease string, t kube.Tenure) {
	if t.Held {
		n.tenures[lease] = t
		n.hold(lease, t)
		return
	}
	delete(n.tenures, lease)
	n.keep(lease, nil)
	n.a.log.Info("not announcing any more", "lease", lease)
}

// hold announces what a Lease is about; what it was about, if that is nothing
// any more, until another node does.
func (n *announcer) hold(lease string, t kube.Tenure) {
	if n.answered[lease] == nil {
		n.answered[lease] = map[netip.Addr]bool{}
	}
	answered, wanted := n.answered[lease], n.addresses(lease)
	if len(wanted) == 0 {
		wanted = slices.Collect(maps.Keys(answered))
	}
	mac, err := n.a.link.MAC()
	if err != nil {
		n.warn(err)
		return
	}
	var claims []netip.Addr
	for _, ip := range wanted {
		if err := n.put(ip, mac, t.Until); err != nil {
			n.warn(err)
			continue
		}
		if t.Taken || !answered[ip] {
			claims = append(claims, ip)
		}
		answered[ip] = true
	}
	n.keep(lease, wanted)
	if len(claims) > 0 {
		n.a.log.Info("announcing", "lease", lease, "addresses", claims)
		n.claim(lease, claims, claimed)
	}
}

// keep withdraws all other addresses of a Lease.
func (n *announcer) keep(lease string, wanted []netip.Addr) {
	answered := n.answered[lease]
	for ip := range answered {
		if !slices.Contains(wanted, ip) {
			n.warn(n.withdraw(ip))
			delete(answered, ip)
		}
	}
	if len(answered) == 0 {
		delete(n.answered, lease)
	}
}

// claimed is how often an address is claimed, each second: a frame may be lost.
const claimed = 3

func (n *announcer) claim(lease string, addresses []netip.Addr, times int) {
	addresses = slices.DeleteFunc(addresses, func(ip netip.Addr) bool { return !n.answered[lease][ip] })
	mac, err := n.a.link.MAC()
	if n.warn(err); err != nil || len(addresses) == 0 {
		return
	}
	n.warn(n.a.link.Claim(mac, addresses...))
	if times > 1 {
		time.AfterFunc(time.Second, func() { n.a.tell(func() { n.claim(lease, addresses, times-1) }) })
	}
}

func (n *announcer) put(ip netip.Addr, mac [6]byte, until time.Time) error {
	if ip.Is6() {
		n.warn(n.membership.Set(link.Solicited(ip), true)) // some are found without
	}
	return n.responder.Set(ip, mac, until)
}

func (n *announcer) withdraw(ip netip.Addr) error {
	err := n.responder.Remove(ip)
	if !ip.Is6() {
		return err
	}
	group := link.Solicited(ip)
	for _, addresses := range n.answered {
		for other := range addresses {
			if other != ip && other.Is6() && link.Solicited(other) == group {
				return err
			}
		}
	}
	return errors.Join(err, n.membership.Set(group, false))
}

func (n *announcer) warn(err error) {
	if err != nil {
		n.a.log.Warn("announce addresses", "error", err)
	}
}

// resign has other nodes announce everything at once, when the agent of a node
// ends that is to end as well: one that is cordoned, or being deleted. Nobody
// owns the graph any more. Other agents are followed by another soon: until
// that runs for its Leases they are its own.
func (n *announcer) resign() {
	if n == nil {
		return
	}
	self, ok := n.a.in.Nodes.Get(n.a.options.Node)
	if ok && !self.Value.Spec.Unschedulable && self.Value.DeletionTimestamp == nil {
		return
	}
	mac, err := n.a.link.MAC()
	n.warn(err)
	for _, addresses := range n.answered {
		for ip := range addresses {
			n.warn(n.responder.Set(ip, mac, time.Time{})) // whoever claims it has it
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), n.a.options.Announce.Deadline)
	defer cancel()
	n.elections.Resign(ctx)
}
