package operator

import (
	"bytes"
	"reflect"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/gateway"
	"github.com/waggle-mesh/waggle/internal/model"
)

// member is one route that a listener counts.
type member struct {
	listener gateway.Membership
	route    model.Ref
}

func (m member) Key() string { return model.Join(m.listener.Key(), m.route.Key()) }

// use is one backend that a route names.
type use struct {
	backend model.Backend
	route   model.Ref
}

func (u use) Key() string { return model.Join(u.route.Key(), u.backend.Key()) }

// world is what the stage reads, with every read on record.
type world struct {
	r *flow.Reader
	o *Graph
}

var _ gateway.World = world{}

// Class is also the implied one, while there is none.
func (w world) Class(name string) (gateway.Class, bool) {
	if c, ok := flow.Get(w.r, w.o.Classes, name); ok {
		return c, true
	}
	if name == "" || name != w.o.settings.ImpliedClass || flow.Count(w.r, w.o.anyClass, anyKey) > 0 {
		return gateway.Class{}, false
	}
	return gateway.Class{Name: name, Ours: true}, true
}

func (w world) Parent(name model.Name) (gateway.Parent, bool) {
	return flow.Get(w.r, w.o.parents, name.String())
}

func (w world) NamespaceLabels(namespace string) map[string]string {
	ns, ok := flow.Get(w.r, w.o.in.Namespaces, namespace)
	if !ok {
		return nil
	}
	return ns.Value.Labels
}

func (w world) Service(name model.Name) (*corev1.Service, bool) {
	s, ok := flow.Get(w.r, w.o.in.Services, name.String())
	return s.Value, ok
}

func (w world) Certificate(secret model.Name) (gateway.Certificate, bool) {
	return flow.Get(w.r, w.o.certificates, secret.String())
}

func (w world) Grants(namespace string) []*gatewayv1.ReferenceGrant {
	var out []*gatewayv1.ReferenceGrant
	for _, g := range flow.Select(w.r, w.o.grants, namespace) {
		out = append(out, g.Value)
	}
	return out
}

func (w world) Expired(notAfter time.Time) bool {
	_, ok := flow.Get(w.r, w.o.expired, instant(notAfter))
	return ok
}

// instant is a time as a key.
func instant(t time.Time) string { return strconv.FormatInt(t.UnixNano(), 10) }

// Expire is called after a commit. It takes note of the certificates whose
// end has passed, and tells whether the graph must be committed again, and
// until when there is nothing new to note.
func (o *Graph) Expire(now time.Time) (until time.Time, again bool) {
	if now.Before(o.certain) {
		return o.certain, false
	}
	o.certain = now.Add(24 * time.Hour)
	passed := map[string]bool{}
	for _, c := range o.certificates.All() {
		switch {
		case c.NotAfter.IsZero():
		case c.NotAfter.After(now):
			if c.NotAfter.Before(o.certain) {
				o.certain = c.NotAfter
			}
		default:
			passed[instant(c.NotAfter)] = true
		}
	}
	for key := range passed {
		if _, known := o.expired.Get(key); !known {
			o.expired.Set(flow.KeyRow(key))
			again = true
		}
	}
	for _, known := range o.expired.All() { // of certificates that are gone
		if !passed[known.Key()] {
			o.expired.Delete(known.Key())
			again = true
		}
	}
	return o.certain, again
}

func equal[T comparable](a, b T) bool { return a == b }

func sameListener(a, b model.Listener) bool { return reflect.DeepEqual(a, b) }

func sameVirtualHost(a, b model.VirtualHost) bool { return reflect.DeepEqual(a, b) }

func sameCertificate(a, b model.Certificate) bool {
	return a.Secret == b.Secret && bytes.Equal(a.Chain, b.Chain) && bytes.Equal(a.PrivateKey, b.PrivateKey)
}

func sameSecret(a, b gateway.Certificate) bool {
	return sameCertificate(a.Certificate, b.Certificate) && a.NotAfter.Equal(b.NotAfter) && a.Problem == b.Problem
}
