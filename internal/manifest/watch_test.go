package manifest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/waggle-mesh/waggle/internal/manifest/inotify"
	"github.com/waggle-mesh/waggle/internal/model"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// service is a manifest of a Service with one port.
func service(name string, port int) string {
	return fmt.Sprintf("apiVersion: v1\nkind: Service\nmetadata: {name: %s}\nspec: {ports: [{port: %d}]}\n", name, port)
}

// followed is a world that follows its working directory.
type followed struct {
	*world
	t       *testing.T
	batches <-chan Batch
	tick    chan time.Time
}

// follow loads and watches a new working directory with the given files,
// which are pairs of path and text.
func follow(t *testing.T, files ...string) *followed {
	t.Helper()
	t.Chdir(t.TempDir())
	for i := 0; i < len(files); i += 2 {
		write(t, files[i], files[i+1])
	}
	f := &followed{world: newWorld(), t: t, tick: make(chan time.Time)}
	f.load(t, ".")
	ctx, cancel := context.WithCancel(t.Context())
	batches, err := f.watch(ctx, f.tick)
	if err != nil {
		t.Fatal(err)
	}
	f.batches = batches
	t.Cleanup(func() {
		cancel()
		for range batches {
		}
	})
	return f
}

// next applies the next Batch.
func (f *followed) next() Batch {
	f.t.Helper()
	select {
	case batch := <-f.batches:
		f.apply(f.t, batch)
		return batch
	case <-time.After(10 * time.Second):
		f.t.Fatalf("nothing comes; rows %v, problems %v", f.ports(), f.problems())
		return Batch{}
	}
}

// until applies Batches until the Services and problems are as wanted.
func (f *followed) until(want string, problems ...string) {
	f.t.Helper()
	for f.ports() != want || !slices.Equal(f.problems(), problems) {
		f.next()
	}
}

// ports lists the Services with their ports: "a:80 b:81".
func (f *followed) ports() string {
	var out []string
	for _, s := range f.services.All() {
		out = append(out, fmt.Sprintf("%s:%d", s.Name.Name, s.Value.Spec.Ports[0].Port))
	}
	return strings.Join(out, " ")
}

func TestWatchEdit(t *testing.T) {
	f := follow(t, "a.yaml", service("a", 80), "b.yaml", service("b", 80))
	write(t, "a.yaml", service("a", 81))
	f.until("a:81 b:80")
	write(t, "a.yaml", "# a comment\n"+service("a", 81))
	if batch := f.next(); batch.Len() != 0 {
		t.Errorf("a comment changes %d objects", batch.Len())
	}
	if _, line, _ := f.Position(model.Ref{Kind: "Service", Name: model.Name{Namespace: "default", Name: "a"}}); line != 2 {
		t.Errorf("a is in line %d, want 2", line)
	}
	write(t, "c.yml", service("c", 80)+"---\n"+service("d", 80))
	f.until("a:81 b:80 c:80 d:80")
	write(t, "notes.txt", service("e", 80))
	write(t, ".a.yaml.swp", service("f", 80))
	write(t, "c.yml", service("d", 80))
	f.until("a:81 b:80 d:80")
}

func TestWatchBroken(t *testing.T) {
	f := follow(t, "a.yaml", service("a", 80)+"---\n"+service("b", 80))
	write(t, "a.yaml", service("a", 81)+"---\n"+service("b", 80)+"spec: {")
	f.until("a:80 b:80", "a.yaml:10: does not parse: did not find expected node content (the version before goes on serving)")
	write(t, "a.yaml", service("a", 81)+"---\n"+service("b", 70000))
	f.until("a:81 b:80", "a.yaml:9: Service default/b: spec.ports[0].port: Invalid value: 70000: must be between 1 and 65535, inclusive (the version before goes on serving)")
	write(t, "a.yaml", service("a", 82)+"---\n# moved\n"+service("b", 70000))
	f.until("a:82 b:80", "a.yaml:10: Service default/b: spec.ports[0].port: Invalid value: 70000: must be between 1 and 65535, inclusive (the version before goes on serving)")
	write(t, "a.yaml", service("b", 81))
	f.until("b:81")
}

// TestWatchHalfWritten opens a file as a shell's > does, and looks before the
// writer is done.
func TestWatchHalfWritten(t *testing.T) {
	f := follow(t, "a.yaml", service("a", 80), "b.yaml", service("b", 80))
	writer, err := os.Create("a.yaml")
	if err != nil {
		t.Fatal(err)
	}
	write(t, "b.yaml", service("b", 81))
	f.tick <- time.Time{}
	f.until("a:80 b:81")
	if _, err := writer.WriteString(service("a", 81)); err != nil {
		t.Fatal(err)
	}
	writer.Close()
	f.until("a:81 b:81")
}

// TestWatchNeverClosed has a writer that keeps its file open.
func TestWatchNeverClosed(t *testing.T) {
	f := follow(t, "a.yaml", service("a", 80))
	writer, err := os.OpenFile("a.yaml", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	if _, err := writer.WriteString(service("a", 81)); err != nil {
		t.Fatal(err)
	}
	f.tick <- time.Time{} // it may be half written
	f.tick <- time.Time{} // it has not changed since
	f.until("a:81")
}

func TestWatchReplace(t *testing.T) {
	f := follow(t, "a.yaml", service("a", 80))
	write(t, "a.yaml.tmp", service("a", 81))
	rename(t, "a.yaml.tmp", "a.yaml")
	f.until("a:81")

	// Some editors move the old file away before they write the new one.
	rename(t, "a.yaml", "a.yaml~")
	write(t, "a.yaml", service("a", 82))
	for f.ports() != "a:82" {
		f.next()
		if f.ports() == "" {
			t.Fatal("the object was gone between two versions")
		}
	}
	rename(t, "a.yaml", "b.yaml")
	for file := ""; file != "b.yaml"; file, _, _ = f.Position(model.Ref{Kind: "Service", Name: model.Name{Namespace: "default", Name: "a"}}) {
		if batch := f.next(); batch.Len() != 0 {
			t.Fatal("a file's new name changes its objects")
		}
	}
	if problems := f.problems(); len(problems) > 0 {
		t.Errorf("problems: %v", problems)
	}
	if err := os.Remove("b.yaml"); err != nil {
		t.Fatal(err)
	}
	f.until("")
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

func TestWatchDirectories(t *testing.T) {
	f := follow(t, "a.yaml", service("a", 80))
	write(t, "x/y/b.yaml", service("b", 80))
	f.until("a:80 b:80")
	write(t, "x/y/b.yaml", service("b", 81))
	f.until("a:80 b:81")
	rename(t, "x", "z")
	write(t, "z/y/b.yaml", service("b", 82))
	f.until("a:80 b:82")
	away := filepath.Join(t.TempDir(), "z")
	rename(t, "z", away)
	f.until("a:80")
	write(t, filepath.Join(away, "y", "b.yaml"), service("b", 83))
	write(t, "a.yaml", service("a", 81))
	f.until("a:81")
	if err := os.Symlink(away, "link"); err != nil {
		t.Fatal(err)
	}
	f.until("a:81 b:83")
	if err := os.Remove("link"); err != nil {
		t.Fatal(err)
	}
	f.until("a:81")
	if err := os.Symlink(".", "circle"); err != nil {
		t.Fatal(err)
	}
	write(t, "a.yaml", service("a", 82))
	f.until("a:82")
}

// TestWatchConfigMap swaps files as the kubelet does in a ConfigMap volume.
func TestWatchConfigMap(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "..1/a.yaml", service("a", 80))
	write(t, "..2/a.yaml", service("a", 81))
	for _, link := range [][2]string{{"..1", "..data"}, {"..data/a.yaml", "a.yaml"}, {"..2", "..data_tmp"}} {
		if err := os.Symlink(link[0], link[1]); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{".", "a.yaml"} {
		t.Run(path, func(t *testing.T) {
			w := newWorld()
			w.load(t, path)
			ctx, cancel := context.WithCancel(t.Context())
			batches, err := w.watch(ctx, nil)
			if err != nil {
				t.Fatal(err)
			}
			rename(t, "..data_tmp", "..data")
			f := &followed{world: w, t: t, batches: batches}
			f.until("a:81")
			cancel()
			for range batches {
			}
			if err := os.Symlink("..1", "..data_tmp"); err != nil {
				t.Fatal(err)
			}
			rename(t, "..data_tmp", "..data")
			if err := os.Symlink("..2", "..data_tmp"); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestWatchOverflow has more happen than the kernel remembers.
func TestWatchOverflow(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "a.yaml", service("a", 80))
	write(t, "b.yaml", service("b", 80))
	w := newWorld()
	w.load(t, ".")
	watcher, err := w.newWatcher()
	if err != nil {
		t.Fatal(err)
	}
	defer watcher.inotify.Close()
	limit, err := os.ReadFile("/proc/sys/fs/inotify/max_queued_events")
	if err != nil {
		t.Fatal(err)
	}
	var events int
	if _, err := fmt.Sscan(string(limit), &events); err != nil {
		t.Fatal(err)
	}
	for i := range events/4 + 1 { // each file is created, closed, renamed and deleted
		name := fmt.Sprintf("%d.txt", i)
		write(t, name, "")
		rename(t, name, name+"~")
		if err := os.Remove(name + "~"); err != nil {
			t.Fatal(err)
		}
	}
	write(t, "a.yaml", service("a", 81))
	write(t, "c.yaml", service("c", 80))
	for overflow := false; !overflow; {
		batch, err := watcher.inotify.Read()
		if err != nil {
			t.Fatal(err)
		}
		overflow = slices.ContainsFunc(batch, func(e inotify.Event) bool { return e.Is(unix.IN_Q_OVERFLOW) })
		watcher.follow(batch)
	}
	w.apply(t, watcher.pending)
	f := &followed{world: w}
	if got := f.ports(); got != "a:81 b:80 c:80" {
		t.Errorf("rows after the overflow: %s", got)
	}
}

func TestWatchTwice(t *testing.T) {
	f := follow(t, "b.yaml", service("a", 80))
	write(t, "a.yaml", service("a", 81))
	f.until("a:80", "a.yaml:1: Service default/a: is defined twice: b.yaml:1 came first and is the one that counts")
	write(t, "b.yaml", "\n"+service("a", 82))
	f.until("a:82", "a.yaml:1: Service default/a: is defined twice: b.yaml:2 came first and is the one that counts")
	if err := os.Remove("b.yaml"); err != nil {
		t.Fatal(err)
	}
	f.until("a:81")
}

// TestWatchMerges leaves Batches lying until there are several.
func TestWatchMerges(t *testing.T) {
	f := follow(t, "a.yaml", service("a", 80))
	for port := 81; port < 100; port++ {
		write(t, "a.yaml", service("a", port))
		write(t, "b.yaml", service("b", port))
	}
	f.until("a:99 b:99")
}

func TestWatchRootComesBack(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "dir/a.yaml", service("a", 80))
	f := &followed{world: newWorld(), t: t, tick: make(chan time.Time)}
	f.load(t, "dir")
	ctx, cancel := context.WithCancel(t.Context())
	batches, err := f.watch(ctx, f.tick)
	if err != nil {
		t.Fatal(err)
	}
	f.batches = batches
	if err := os.RemoveAll("dir"); err != nil {
		t.Fatal(err)
	}
	f.until("")
	write(t, "dir/a.yaml", service("a", 81))
	f.tick <- time.Time{}
	f.tick <- time.Time{}
	f.until("a:81")
	write(t, "dir/a.yaml", service("a", 82))
	f.until("a:82")
	cancel()
	for range batches {
	}
}

// TestWatchMany tells of many documents at once, and not of an edit.
func TestWatchMany(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "a.yaml", service("a", 80))
	f := &followed{world: newWorld(), t: t, tick: make(chan time.Time)}
	f.load(t, ".")
	told := 0
	f.OnMany(func() { told++ })
	watcher, err := f.newWatcher()
	if err != nil {
		t.Fatal(err)
	}
	defer watcher.inotify.Close()
	write(t, "a.yaml", service("a", 81))
	_ = watcher.rescan(true)
	if told != 0 {
		t.Errorf("told %d times of an edit", told)
	}
	var text strings.Builder
	for i := range many {
		text.WriteString("---\n" + service(fmt.Sprintf("s%d", i), 80))
	}
	write(t, "b.yaml", text.String())
	_ = watcher.rescan(true)
	if told != 1 {
		t.Errorf("told %d times of %d documents", told, many)
	}
}
