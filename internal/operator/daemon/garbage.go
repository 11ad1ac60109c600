package daemon

import (
	"context"
	"strconv"
	"time"

	"github.com/waggle-mesh/waggle/internal/identity"
	"github.com/waggle-mesh/waggle/internal/kube"
	"github.com/waggle-mesh/waggle/internal/model"
)

// collectIdentities removes, now and then, the CiliumIdentities that no pod
// has had for long: there are 65,280 numbers, and every new set of labels
// takes one.
func (p *process) collectIdentities(ctx context.Context) {
	tick := time.NewTicker(p.options.Garbage.Every)
	defer tick.Stop()
	var unused map[model.Identity]time.Time
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		unused = p.removeUnused(ctx, unused, time.Now())
	}
}

// removeUnused removes the identities that have been unused since long
// before now. What it gives is for the next time.
func (p *process) removeUnused(ctx context.Context, since map[model.Identity]time.Time, now time.Time) map[model.Identity]time.Time {
	if !p.sources.identities.Live() || !p.sources.endpoints.Live() {
		return since // who has which identity is not known
	}
	used := map[model.Identity]bool{}
	for _, e := range p.sources.endpoints.All() {
		if e.Status.Identity != nil {
			used[model.Identity(e.Status.Identity.ID)] = true
		}
	}
	var entries []identity.Entry
	for _, o := range p.sources.identities.All() {
		if number, ok := identity.Parse(o.Name); ok {
			entries = append(entries, identity.Entry{Number: number, Labels: o.SecurityLabels, Created: o.CreationTimestamp.Time})
		}
	}
	has := func(id model.Identity) bool { return used[id] }
	garbage, unused := identity.Garbage(entries, has, since, now, p.options.Garbage.Unused)
	for _, number := range garbage {
		p.removeIdentity(ctx, number)
	}
	return unused
}

// removeIdentity removes one, if it is still the same object. An agent that
// needs it at this very moment makes it again, with the same number.
func (p *process) removeIdentity(ctx context.Context, number model.Identity) {
	name := model.Name{Name: strconv.Itoa(int(number))}
	o, ok := p.sources.identities.Newest(name)
	if !ok {
		return
	}
	if err := kube.Delete(ctx, p.client, kube.Identities, name, o.UID); err != nil {
		p.log.Warn("remove an identity that nobody has", "error", err)
		return
	}
	p.removed.Inc()
	p.log.Info("removed an identity that nobody has", "identity", name.Name, "labels", o.SecurityLabels)
}
