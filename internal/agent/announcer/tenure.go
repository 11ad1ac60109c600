package announcer

import (
	"errors"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/waggle-mesh/waggle/internal/kube"
	"github.com/waggle-mesh/waggle/internal/link"
)

// told takes note of what became of a Lease.
func (n *Announcer) told(lease string, t kube.Tenure) {
	if t.Held {
		n.tenures[lease] = t
		n.hold(lease, t)
		return
	}
	delete(n.tenures, lease)
	n.keep(lease, nil)
	n.node.Log.Info("not announcing any more", "lease", lease)
}

// hold announces what a Lease is about; what it was about, if that is nothing
// any more, until another node does.
func (n *Announcer) hold(lease string, t kube.Tenure) {
	if n.answered[lease] == nil {
		n.answered[lease] = map[netip.Addr]bool{}
	}
	answered, wanted := n.answered[lease], n.addresses(lease)
	if len(wanted) == 0 {
		wanted = slices.Collect(maps.Keys(answered))
	}
	mac, err := n.link.MAC()
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
		n.node.Log.Info("announcing", "lease", lease, "addresses", claims)
		n.claim(lease, claims, claimed)
	}
}

// keep withdraws all other addresses of a Lease.
func (n *Announcer) keep(lease string, wanted []netip.Addr) {
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

func (n *Announcer) claim(lease string, addresses []netip.Addr, times int) {
	addresses = slices.DeleteFunc(addresses, func(ip netip.Addr) bool { return !n.answered[lease][ip] })
	mac, err := n.link.MAC()
	if n.warn(err); err != nil || len(addresses) == 0 {
		return
	}
	n.warn(n.link.Claim(mac, addresses...))
	if times > 1 {
		time.AfterFunc(time.Second, func() { n.node.Tell(func() { n.claim(lease, addresses, times-1) }) })
	}
}

func (n *Announcer) put(ip netip.Addr, mac [6]byte, until time.Time) error {
	if ip.Is6() {
		n.warn(n.membership.Set(link.Solicited(ip), true)) // some are found without
	}
	return n.responder.Set(ip, mac, until)
}

func (n *Announcer) withdraw(ip netip.Addr) error {
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

func (n *Announcer) warn(err error) {
	if err != nil {
		n.node.Log.Warn("announce addresses", "error", err)
	}
}
