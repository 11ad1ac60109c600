package manifest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// stamp tells versions of a file apart without reading it.
type stamp struct {
	modified, changed syscall.Timespec
	size              int64
	inode, device     uint64
	links             uint64 // names of the file
}

func stampOf(s *syscall.Stat_t) stamp {
	return stamp{modified: s.Mtim, changed: s.Ctim, size: s.Size, inode: s.Ino, device: uint64(s.Dev), links: uint64(s.Nlink)}
}

// walk looks for manifests in directories. All of thousands of files are
// looked at now and then, so it makes no more of a file than its path.
type walk struct {
	found    func(path string, s stamp)
	visit    func(directory string)
	problems []Problem          // what cannot be looked at
	seen     map[[2]uint64]bool // directories by device and inode: links may go in circles
	status   syscall.Stat_t     // what was looked at last

	stay   bool // links to directories are not followed, but noted:
	linked bool // there is one
}

func newWalk(found func(path string, s stamp)) *walk {
	return &walk{found: found, visit: func(string) {}, seen: map[[2]uint64]bool{}}
}

// roots looks at what was given to Load.
func (w *walk) roots(all []root) {
	for _, r := range all {
		if r.file {
			w.visit(filepath.Dir(r.path))
			w.file(r.path)
		} else {
			w.directory(r.path)
		}
	}
}

func (w *walk) directory(path string) {
	if w.stat(path) == nil {
		identity := [2]uint64{uint64(w.status.Dev), w.status.Ino}
		if !w.is(syscall.S_IFDIR) || w.seen[identity] {
			return
		}
		w.seen[identity] = true
		w.visit(path) // before it is read, so that nothing falls between
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		w.problem(path, err)
	}
	for _, e := range entries {
		if hidden(e.Name()) {
			continue
		}
		full := filepath.Join(path, e.Name())
		link := e.Type()&fs.ModeSymlink != 0 && isDirectory(full)
		switch {
		case link && w.stay:
			w.linked = true
		case link, e.IsDir():
			w.directory(full)
		case isManifest(e.Name()):
			w.file(full)
		}
	}
}

func (w *walk) file(path string) {
	if err := w.stat(path); err != nil {
		w.problem(path, err)
	} else if w.is(syscall.S_IFREG) {
		w.found(path, stampOf(&w.status))
	}
}

// stat is os.Stat into status.
func (w *walk) stat(path string) error {
	for {
		if err := syscall.Stat(path, &w.status); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// is tells whether what was looked at last is of a type, S_IF* of inode(7).
func (w *walk) is(t uint32) bool { return w.status.Mode&syscall.S_IFMT == t }

func (w *walk) problem(path string, err error) {
	if _, gone := os.Lstat(path); errors.Is(gone, fs.ErrNotExist) {
		return // it went while we looked
	}
	w.problems = append(w.problems, Problem{File: path, Message: "cannot be read: " + reason(err).Error(), Severity: Error})
}

// reason is an error without the path that it happened to.
func reason(err error) error {
	if because, ok := errors.AsType[*fs.PathError](err); ok {
		return because.Err
	}
	return err
}

func isDirectory(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
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
