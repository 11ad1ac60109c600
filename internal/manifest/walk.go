package manifest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// stamp tells versions of a file apart without reading it.
type stamp struct {
	modified, changed time.Time
	size              int64
	inode, device     uint64
	links             uint64 // names of the file
}

func stampOf(info fs.FileInfo) stamp {
	s := stamp{modified: info.ModTime(), size: info.Size()}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		s.inode, s.device, s.links = sys.Ino, uint64(sys.Dev), uint64(sys.Nlink)
		s.changed = time.Unix(sys.Ctim.Sec, sys.Ctim.Nsec)
	}
	return s
}

// walk looks for manifests in directories.
type walk struct {
	files    map[string]stamp
	problems []Problem // what cannot be looked at
	visit    func(directory string)
	seen     map[[2]uint64]bool // directories by device and inode: links may go in circles

	stay   bool // links to directories are not followed, but noted:
	linked bool // there is one
}

func newWalk() *walk {
	return &walk{files: map[string]stamp{}, seen: map[[2]uint64]bool{}, visit: func(string) {}}
}

func (w *walk) directory(path string) {
	info, err := os.Stat(path)
	if err == nil {
		s := stampOf(info)
		identity := [2]uint64{s.device, s.inode}
		if !info.IsDir() || w.seen[identity] {
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
	info, err := os.Stat(path)
	switch {
	case err != nil:
		w.problem(path, err)
	case info.Mode().IsRegular():
		w.files[path] = stampOf(info)
	}
}

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
