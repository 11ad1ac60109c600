package envoyconfig

import (
	"strings"
	"testing"

	"github.com/waggle-mesh/waggle/test/hostile/objects"
)

// BenchmarkParse reads the good object of the hostile ones.
func BenchmarkParse(b *testing.B) {
	w := read(b, strings.TrimSpace(hostileWorld)).world()
	o := objectOf(b, objects.Case{})
	b.ReportAllocs()
	for b.Loop() {
		if p := Parse(o, w); len(p.Problems) > 0 {
			b.Fatal(p.Problems)
		}
	}
}
