package manifest

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/waggle-mesh/waggle/internal/model"
)

// A Feed reads manifests. Load comes first; Problems and Position may be
// asked by any goroutine at any time.
type Feed struct {
	bindings bindings
	roots    []root
	onMany   func()

	mu         sync.Mutex
	catalog    catalog
	unreadable []Problem // of directories and links
}

// root is a path that was given to Load.
type root struct {
	path string
	file bool // it is one file, of whatever name
}

// New makes a feed of the given kinds.
func New(kinds ...Binding) *Feed {
	f := &Feed{catalog: newCatalog()}
	for _, k := range kinds {
		f.bindings = append(f.bindings, &k)
	}
	return f
}

// Load reads the manifests below the given directories, and the given files.
// Entries whose names begin with a dot are passed over. What an earlier Load
// read elsewhere is forgotten. The error is about the paths; what is wrong in
// the files is told by Problems.
func (f *Feed) Load(paths ...string) (Batch, error) {
	f.roots = nil
	for _, path := range paths {
		path = filepath.Clean(path)
		info, err := os.Stat(path)
		if err != nil {
			return Batch{}, fmt.Errorf("read manifests: %w", err)
		}
		f.roots = append(f.roots, root{path: path, file: !info.IsDir()})
	}
	found := map[string]struct{}{}
	everything := newWalk(func(path string, _ stamp) { found[path] = struct{}{} })
	everything.roots(f.roots)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.unreadable = everything.problems
	var batch Batch
	f.readFiles(slices.Sorted(maps.Keys(found)), &batch)
	for path := range f.catalog.files {
		if _, there := found[path]; !there {
			f.catalog.remove(path, &batch)
		}
	}
	return batch, nil
}

// many documents are worth all processors.
const many = 100

// OnMany sets what is called before many documents are decoded at once. It must be called
// before Watch.
func (f *Feed) OnMany(call func()) { f.onMany = call }

// Problems gives what is wrong with the files as they were last read, in
// order of file and line.
func (f *Feed) Problems() []Problem {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.SortedFunc(slices.Values(append(f.catalog.problems(), f.unreadable...)), Problem.Compare)
}

// Position tells where an object is defined: the definition that is served
// or, if none is, the first.
func (f *Feed) Position(ref model.Ref) (file string, line int, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e := f.catalog.entries[ref]
	if e == nil {
		return "", 0, false
	}
	at := e.owner
	if at == nil {
		at = e.claims[0]
	}
	return at.file.path, at.line, true
}

// readFiles reads files, in order, and adds what changes to batch. A file
// that is gone is forgotten.
func (f *Feed) readFiles(paths []string, batch *Batch) {
	var tasks []*reading
	for _, path := range paths {
		r := &reading{path: path, before: f.catalog.files[path]}
		r.open()
		tasks = append(tasks, r)
	}
	f.decode(tasks)
	for _, r := range tasks {
		if !r.gone {
			f.catalog.put(r.file(), batch)
		}
	}
	for _, r := range tasks { // last, so that what has moved is there before it goes
		if r.gone {
			f.catalog.remove(r.path, batch)
		}
	}
}

// decode makes documents of the chunks that are new.
func (f *Feed) decode(tasks []*reading) {
	var jobs []func()
	for _, r := range tasks {
		for i := range r.placed {
			if r.placed[i].document == nil {
				jobs = append(jobs, func() { r.placed[i].document = f.bindings.read(r.chunks[i].text) })
			}
		}
	}
	if len(jobs) >= many && f.onMany != nil {
		f.onMany()
	}
	var next atomic.Int64
	work := func() {
		for i := next.Add(1); i <= int64(len(jobs)); i = next.Add(1) {
			jobs[i-1]()
		}
	}
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(jobs)) - 1 { // one is here: an edit wakes nobody
		workers.Go(work)
	}
	work()
	workers.Wait()
}
