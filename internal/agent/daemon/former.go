package daemon

import (
	"maps"
	"net/netip"
	"time"

	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/model"
)

// together is how much sooner than a verdict about it an identity may change for
// the same reason: tables learn of one edit's objects in any order.
const together = time.Second

// formerIdentities are what prefixes were, and until when. Who is relabelled while
// a verdict about him is taken back has connections that stand on what he was.
type formerIdentities map[formerIdentity]time.Time

type formerIdentity struct {
	prefix   netip.Prefix
	identity model.Identity
}

// add adds what changes now.
func (f formerIdentities) add(changes []flow.Change[model.IPIdentity]) {
	for _, c := range changes {
		if c.HadOld && (!c.HasNew || c.New.Identity != c.Old.Identity) {
			f[formerIdentity{c.Old.Prefix, c.Old.Identity}] = time.Now()
		}
	}
}

// forget drops what was former already when a verdict was taken back.
func (f formerIdentities) forget(taken time.Time) {
	maps.DeleteFunc(f, func(_ formerIdentity, until time.Time) bool { return until.Before(taken.Add(-together)) })
}

func (f formerIdentities) byPrefix() map[netip.Prefix][]model.Identity {
	out := map[netip.Prefix][]model.Identity{}
	for i := range f {
		out[i.prefix] = append(out[i.prefix], i.identity)
	}
	return out
}
