package cut

import (
	"slices"
	"strconv"

	"github.com/waggle-mesh/waggle/internal/model"
)

// Route is the unit of a route, which stands together with those of its object.
func Route(r *model.Route) Unit {
	object := r.Origin.Object.Key()
	return Unit{
		Group: Hash(object), Own: Hash(object, strconv.Itoa(r.Origin.Rule), strconv.Itoa(r.Origin.Match)), Size: storedSize(r),
	}
}

// storedSize is about how many bytes of JSON a route takes.
func storedSize(r *model.Route) int {
	n := 400 + len(r.Origin.Object.Namespace) + 2*len(r.Origin.Object.Name.Name) + len(r.Match.Path.Value) + len(r.Match.Method)
	for _, m := range slices.Concat(r.Match.Headers, r.Match.Query) {
		n += 70 + len(m.Name) + len(m.Value)
	}
	n += mutationSize(r.RequestHeaders) + mutationSize(r.ResponseHeaders)
	if f := r.Forward; f != nil {
		for _, b := range f.Backends {
			n += 60 + len(b.Backend.Key()) + mutationSize(b.RequestHeaders) + mutationSize(b.ResponseHeaders)
		}
		n += 170*len(f.Mirrors) + 200
	}
	if c := r.CORS; c != nil {
		n += 300
		for _, s := range slices.Concat(c.AllowOrigins, c.AllowMethods, c.AllowHeaders, c.ExposeHeaders) {
			n += 40 + len(s)
		}
	}
	return n
}

func mutationSize(m model.HeaderMutation) (n int) {
	for _, h := range slices.Concat(m.Set, m.Add) {
		n += 100 + len(h.Name) + len(h.Value)
	}
	for _, name := range m.Remove {
		n += 4 + len(name)
	}
	return n
}
