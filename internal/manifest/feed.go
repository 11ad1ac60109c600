package manifest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/waggle-mesh/waggle/internal/model"
)

// A Feed reads manifests. Load comes first; Problems and Position may be
// asked by any goroutine at any time.
type Feed struct {
	bindings bindings
	roots    []root

	mu      sync.Mutex
	catalog catalog
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
// Entries whose names begin with a dot are passed over. The error is about
// the paths; what is wrong in the files is told by Problems.
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
	f.mu.Lock()
	defer f.mu.Unlock()
	var batch Batch
	f.refresh(f.scan(), &batch)
	return batch, nil
}

// Problems gives what is wrong with the files as they were last read, in
// order of file and line.
func (f *Feed) Problems() []Problem {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.catalog.problems()
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

// scan finds the files below the roots.
func (f *Feed) scan() map[string]stamp {
	found := map[string]stamp{}
	w := &walk{found: found, seen: map[[2]uint64]bool{}}
	for _, r := range f.roots {
		if r.file {
			w.file(r.path)
		} else {
			w.directory(r.path)
		}
	}
	return found
}

// walk looks for manifests in directories.
type walk struct {
	found map[string]stamp
	seen  map[[2]uint64]bool // directories by device and inode: links may go in circles
	visit func(directory string)
}

func (w *walk) directory(path string) {
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		return
	}
	if s := stampOf(info); w.seen[[2]uint64{s.device, s.inode}] {
		return
	} else {
		w.seen[[2]uint64{s.device, s.inode}] = true
	}
	if w.visit != nil {
		w.visit(path)
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return
	}
	for _, e := range entries {
		if hidden(e.Name()) {
			continue
		}
		full := filepath.Join(path, e.Name())
		switch {
		case e.IsDir():
			w.directory(full)
		case e.Type()&fs.ModeSymlink != 0:
			if info, err := os.Stat(full); err == nil && info.IsDir() {
				w.directory(full)
				continue
			}
			fallthrough
		default:
			if isManifest(e.Name()) {
				w.file(full)
			}
		}
	}
}

func (w *walk) file(path string) {
	if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
		w.found[path] = stampOf(info)
	}
}

// hidden tells whether an entry of a directory is none of ours: an editor's
// temporary file, or the versions of a ConfigMap volume.
func hidden(name string) bool { return strings.HasPrefix(name, ".") }

func isManifest(name string) bool {
	switch filepath.Ext(name) {
	case ".yaml", ".yml", ".json":
		return !hidden(name)
	}
	return false
}

func stampOf(info fs.FileInfo) stamp {
	s := stamp{modified: info.ModTime(), size: info.Size()}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		s.inode, s.device = sys.Ino, uint64(sys.Dev)
		s.changed = time.Unix(sys.Ctim.Sec, sys.Ctim.Nsec)
	}
	return s
}

// refresh reads the files of found that are not as they were, forgets those
// that are not in found, and adds what changes to batch.
func (f *Feed) refresh(found map[string]stamp, batch *Batch) {
	var paths []string
	for path, s := range found {
		if known := f.catalog.files[path]; known == nil || known.stamp != s {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	f.readFiles(paths, batch)
	for path := range f.catalog.files {
		if _, there := found[path]; !there {
			f.catalog.remove(path, batch)
		}
	}
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
		if r.gone {
			f.catalog.remove(r.path, batch)
			continue
		}
		f.catalog.put(r.file(), batch)
	}
}

// reading is a file on its way into the catalog.
type reading struct {
	path   string
	before *file
	gone   bool
	stamp  stamp
	err    error
	chunks []chunk
	placed []placed
}

// open reads the file and cuts it into documents; those that the file had
// before need not be decoded again.
func (r *reading) open() {
	text, err := r.text()
	if errors.Is(err, fs.ErrNotExist) {
		r.gone = true
		return
	}
	if err == nil {
		err = checkText(text)
	}
	if err != nil {
		r.err = err
		return
	}
	known := map[digest]*document{}
	if r.before != nil {
		for _, d := range r.before.documents {
			known[d.digest] = d.document
		}
	}
	r.chunks = split(text)
	r.placed = make([]placed, len(r.chunks))
	for i, c := range r.chunks {
		digest := digestOf(c.text)
		r.placed[i] = placed{document: known[digest], digest: digest, line: c.line}
	}
}

func (r *reading) text() ([]byte, error) {
	in, err := os.Open(r.path)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return nil, err
	}
	r.stamp = stampOf(info)
	text := make([]byte, 0, min(info.Size(), maxFile)+1)
	for len(text) <= maxFile {
		if len(text) == cap(text) {
			text = slices.Grow(text, 4096)
		}
		n, err := in.Read(text[len(text):cap(text)])
		text = text[:len(text)+n]
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	return text, nil
}

// decode makes documents of the chunks that are new.
func (f *Feed) decode(tasks []*reading) {
	type job struct {
		to   *placed
		text []byte
	}
	var jobs []job
	for _, r := range tasks {
		for i := range r.placed {
			if r.placed[i].document == nil {
				jobs = append(jobs, job{&r.placed[i], r.chunks[i].text})
			}
		}
	}
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(jobs)) {
		workers.Go(func() {
			for i := next.Add(1); i <= int64(len(jobs)); i = next.Add(1) {
				jobs[i-1].to.document = f.bindings.read(jobs[i-1].text)
			}
		})
	}
	workers.Wait()
}

// file gives what was read. Where that does not parse, it is what the file
// was before, if it was anything.
func (r *reading) file() *file {
	f := &file{path: r.path, stamp: r.stamp, documents: r.placed}
	if r.err != nil {
		f.broken = []Problem{{File: r.path, Message: "cannot be read: " + r.err.Error(), Severity: Error}}
	}
	if r.before == nil {
		return f
	}
	for _, d := range r.placed {
		if d.broken != nil {
			f.broken = append(f.broken, d.broken.at(r.path, d.line-1))
		}
	}
	if len(f.broken) > 0 {
		f.documents = r.before.documents
		for i := range f.broken {
			f.broken[i].Stale = len(r.before.claims) > 0
		}
	}
	return f
}
