package operator

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/gateway"
	"github.com/waggle-mesh/waggle/internal/model"
)

// TestExpire compares what is known of certificates' ends with what looking
// at all of them would find, over a random history.
func TestExpire(t *testing.T) {
	seed := rand.Uint64()
	t.Log("seed", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	var tables flow.Graph
	o := &Graph{expiry: expiry{certificates: map[int64]int{}}}
	o.expired = flow.NewTable(&tables, "passed", flow.Equal[flow.KeyRow])
	o.certificates = flow.NewTable(&tables, "certificates", gateway.Certificate.Equal)
	o.certificates.OnChange(o.expiry.changed)
	start := time.Unix(1_700_000_000, 0)
	now := start
	for step := range 3000 {
		name := model.Name{Namespace: "default", Name: fmt.Sprint(random.IntN(20))}
		switch random.IntN(4) {
		case 0:
			now = now.Add(time.Duration(random.IntN(3)) * time.Second)
		case 1:
			o.certificates.Delete(name.String())
		default:
			c := gateway.Certificate{Certificate: model.Certificate{Secret: name}}
			if random.IntN(10) > 0 {
				c.NotAfter = now.Add(time.Duration(random.IntN(40)-10) * time.Second)
			}
			o.certificates.Set(c)
		}
		if err := tables.Commit(); err != nil {
			t.Fatal(err)
		}
		until, _ := o.Expire(now)
		if err := tables.Commit(); err != nil {
			t.Fatal(err)
		}
		want, next := map[string]bool{}, now.Add(horizon)
		for _, c := range o.certificates.All() {
			switch {
			case c.NotAfter.IsZero():
			case c.NotAfter.After(now):
				if c.NotAfter.Before(next) {
					next = c.NotAfter
				}
			default:
				want[instant(c.NotAfter.UnixNano())] = true
			}
		}
		if o.expired.Len() != len(want) {
			t.Fatalf("step %d: %d ends have passed, want %d", step, o.expired.Len(), len(want))
		}
		for _, end := range o.expired.All() {
			if !want[end.Key()] {
				t.Fatalf("step %d: %s has not passed, or nobody has it", step, end.Key())
			}
		}
		if until.After(next) {
			t.Fatalf("step %d: nothing new until %s, but a certificate ends at %s", step, until, next)
		}
		if len(o.expiry.coming) > 2*len(o.expiry.certificates)+100 {
			t.Fatalf("step %d: %d ends are kept for %d", step, len(o.expiry.coming), len(o.expiry.certificates))
		}
	}
}

// TestExpireCost: a change among many certificates costs the same as one
// among few.
func TestExpireCost(t *testing.T) {
	e := expiry{certificates: map[int64]int{}}
	o := &Graph{expiry: e}
	var tables flow.Graph
	o.expired = flow.NewTable(&tables, "passed", flow.Equal[flow.KeyRow])
	now := time.Unix(1_700_000_000, 0)
	change := func(old, end time.Duration) {
		c := flow.Change[gateway.Certificate]{HadOld: old > 0, HasNew: true}
		c.Old.NotAfter, c.New.NotAfter = now.Add(old), now.Add(end)
		o.expiry.changed([]flow.Change[gateway.Certificate]{c})
	}
	for i := range 100_000 {
		change(0, time.Hour+time.Duration(i))
	}
	at := time.Duration(0)
	if allocations := testing.AllocsPerRun(100, func() {
		at += time.Microsecond
		change(at, at+time.Microsecond)
		o.Expire(now)
	}); allocations > 20 {
		t.Errorf("%v allocations for a change among 100,000", allocations)
	}
}

// TestImpliedClass is there while there is no GatewayClass at all.
func TestImpliedClass(t *testing.T) {
	var tables flow.Graph
	in := NewInputs(&tables)
	o := New(&tables, in, NewAnswers(&tables), Settings{Stage: gateway.Stage{Controller: "example.com/c"}, ImpliedClass: "implied"})
	in.Services.Set(model.Object[*corev1.Service]{Name: model.Name{Namespace: "default", Name: "a"}, Value: &corev1.Service{}})
	gw := testGateway("gw", "implied")
	in.Gateways.Set(gw)
	standing := func() gateway.Standing {
		t.Helper()
		if err := tables.Commit(); err != nil {
			t.Fatal(err)
		}
		row, _ := o.Gateways.Get(gw.Key())
		return row.Standing
	}
	if got := standing(); got != gateway.Ours {
		t.Errorf("with no class: standing %v", got)
	}
	in.Classes.Set(testClass("other", "example.com/other"))
	if got := standing(); got != gateway.Unclaimed {
		t.Errorf("with another class: standing %v", got)
	}
	in.Classes.Delete("other")
	if got := standing(); got != gateway.Ours {
		t.Errorf("with no class again: standing %v", got)
	}
}
