package manifest

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"syscall"
)

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
		if info, failed := os.Stat(r.path); failed == nil {
			r.stamp = stampOf(info.Sys().(*syscall.Stat_t)) // not to be tried again before it changes
		}
		r.err = reason(err)
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
	// A pipe without a writer must not hold up everything else.
	in, err := os.OpenFile(r.path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fs.ErrNotExist
	}
	r.stamp = stampOf(info.Sys().(*syscall.Stat_t))
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
