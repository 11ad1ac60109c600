package envoyconfig

import (
	"strings"
	"testing"
)

// BenchmarkParse reads the good object of the hostile ones.
func BenchmarkParse(b *testing.B) {
	w := read(b, strings.TrimSpace(hostileWorld)).world()
	o := hostileCase{}.of(b)
	b.ReportAllocs()
	for b.Loop() {
		if p := Parse(o, w); len(p.Problems) > 0 {
			b.Fatal(p.Problems)
		}
	}
}
