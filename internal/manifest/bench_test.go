package manifest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// typicalRoute is an HTTPRoute as people write them.
func typicalRoute(i int) string {
	return fmt.Sprintf(`apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: route-%[1]d
  namespace: shop
  labels:
    app: shop
spec:
  parentRefs:
  - name: front
    sectionName: http
  hostnames:
  - host-%[1]d.example.com
  rules:
  - name: api
    matches:
    - path:
        type: PathPrefix
        value: /api
      headers:
      - name: x-version
        value: "2"
    filters:
    - type: RequestHeaderModifier
      requestHeaderModifier:
        set:
        - name: x-route
          value: route-%[1]d
    timeouts:
      request: 10s
    backendRefs:
    - name: api-v1
      port: 8080
      weight: 90
    - name: api-v2
      port: 8080
      weight: 10
  - matches:
    - path:
        type: PathPrefix
        value: /
    backendRefs:
    - name: web
      port: 8080
`, i)
}

func BenchmarkHTTPRoute(b *testing.B) {
	w := newWorld()
	text := []byte(typicalRoute(1))
	w.bindings.read(text) // compiles
	reportCPU(b)
	for b.Loop() {
		d := w.bindings.read(text)
		if len(d.objects) != 1 || d.objects[0].value == nil {
			b.Fatal(d)
		}
	}
}

// BenchmarkLoad reads 5,000 HTTPRoutes: in one file, and in one file each.
func BenchmarkLoad(b *testing.B) {
	const count = 5000
	b.Run("one file", func(b *testing.B) {
		dir := b.TempDir()
		write(b, filepath.Join(dir, "all.yaml"), manyRoutes(count))
		benchmarkLoad(b, dir, count)
	})
	b.Run("many files", func(b *testing.B) {
		dir := b.TempDir()
		for i := range count {
			write(b, filepath.Join(dir, fmt.Sprintf("%d.yaml", i)), typicalRoute(i))
		}
		benchmarkLoad(b, dir, count)
	})
}

// reportCPU adds what the process has used, which other processes on the
// machine change less than the time it took.
func reportCPU(b *testing.B) {
	cpu := func() int64 {
		var used unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_SELF, &used); err != nil {
			b.Fatal(err)
		}
		return used.Utime.Nano() + used.Stime.Nano()
	}
	before := cpu()
	b.Cleanup(func() { b.ReportMetric(float64(cpu()-before)/1e6/float64(b.N), "cpu-ms/op") })
}

func benchmarkLoad(b *testing.B, dir string, count int) {
	reportCPU(b)
	for b.Loop() {
		w := newWorld()
		batch, err := w.Load(dir)
		if err != nil || batch.Len() != count {
			b.Fatal(batch.Len(), err, w.problems())
		}
	}
}

// BenchmarkEdit writes one of 5,000 HTTPRoutes and waits for its row: in one
// file with all others, and in a file of its own.
func BenchmarkEdit(b *testing.B) {
	const count = 5000
	b.Run("one file", func(b *testing.B) {
		path := filepath.Join(b.TempDir(), "all.yaml")
		text := manyRoutes(count)
		benchmarkEdit(b, path, text, writeInPlace)
	})
	b.Run("many files", func(b *testing.B) {
		dir := b.TempDir()
		for i := range count {
			write(b, filepath.Join(dir, fmt.Sprintf("%d.yaml", i)), typicalRoute(i))
		}
		b.Run("in place", func(b *testing.B) {
			benchmarkEdit(b, filepath.Join(dir, "2500.yaml"), typicalRoute(2500), writeInPlace)
		})
		b.Run("by renaming", func(b *testing.B) {
			benchmarkEdit(b, filepath.Join(dir, "2500.yaml"), typicalRoute(2500), func(b *testing.B, path, text string) {
				write(b, path+".part", text)
				if err := os.Rename(path+".part", path); err != nil {
					b.Fatal(err)
				}
			})
		})
	})
}

func writeInPlace(b *testing.B, path, text string) { write(b, path, text) }

// benchmarkEdit counts the time from a file's writing to its Batch.
func benchmarkEdit(b *testing.B, path, text string, replace func(b *testing.B, path, text string)) {
	write(b, path, text)
	w := newWorld()
	if _, err := w.Load(filepath.Dir(path)); err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	batches, err := w.watch(ctx, nil)
	if err != nil {
		b.Fatal(err)
	}
	reportCPU(b)
	for i := 0; b.Loop(); i++ {
		replace(b, path, strings.Replace(text, "host-2500.", fmt.Sprintf("edit-%d.", i), 1))
		if batch := <-batches; batch.Len() != 1 {
			b.Fatal(batch.Len(), w.problems())
		}
	}
	cancel()
	for range batches {
	}
}

func manyRoutes(count int) string {
	var text strings.Builder
	for i := range count {
		text.WriteString("---\n" + typicalRoute(i))
	}
	return text.String()
}
