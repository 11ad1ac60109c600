package image

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// File is one file of an image: a copy of Src, or with Link a symbolic link.
type File struct {
	Dest string // absolute path in the image
	Src  string // path on this machine
	Link string // target of a symbolic link; then Src is unused
}

// ParseFile reads the form used on command lines: DEST=SRC (a copy),
// DEST@TARGET (a symbolic link) or SRC alone (put at /<base name>).
func ParseFile(s string) File {
	if dest, src, ok := strings.Cut(s, "="); ok {
		return File{Dest: dest, Src: src}
	}
	if dest, target, ok := strings.Cut(s, "@"); ok {
		return File{Dest: dest, Link: target}
	}
	return File{Dest: "/" + filepath.Base(s), Src: s}
}

// accounts let images run as root or, with runAsNonRoot, as nonroot.
var accounts = map[string]string{
	"etc/passwd": "root:x:0:0:root:/:/\nnonroot:x:65532:65532:nonroot:/:/\n",
	"etc/group":  "root:x:0:\nnonroot:x:65532:\n",
}

// writeLayer puts the image's files into the store and returns the blob and the
// digest of its content before compression.
func (i Image) writeLayer(store string) (d descriptor, diffID string, err error) {
	blob, err := newBlobWriter(store)
	if err != nil {
		return d, "", err
	}
	defer func() {
		if err != nil {
			blob.abandon()
		}
	}()
	z, err := gzip.NewWriterLevel(blob, gzip.BestSpeed)
	if err != nil {
		return d, "", err
	}
	raw := sha256.New()
	w := layerWriter{tar.NewWriter(io.MultiWriter(raw, z))}
	if err := i.content(w); err != nil {
		return d, "", err
	}
	if err := w.Close(); err != nil {
		return d, "", err
	}
	if err := z.Close(); err != nil {
		return d, "", err
	}
	d, err = blob.finish(store, layerType)
	return d, fmt.Sprintf("sha256:%x", raw.Sum(nil)), err
}

func (i Image) content(w layerWriter) error {
	if err := w.dir("tmp/", 0o1777); err != nil {
		return err
	}
	if err := w.dir("etc/", 0o755); err != nil {
		return err
	}
	for _, name := range []string{"etc/passwd", "etc/group"} {
		if err := w.bytes(name, []byte(accounts[name])); err != nil {
			return err
		}
	}
	if i.Tree != "" {
		if err := w.tree(i.Tree); err != nil {
			return err
		}
	}
	for _, f := range i.Files {
		if err := w.file(f); err != nil {
			return err
		}
	}
	return nil
}

// layerWriter writes tar entries that are the same on every machine: no times,
// no owners.
type layerWriter struct{ *tar.Writer }

func (w layerWriter) dir(name string, mode int64) error {
	return w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: mode})
}

func (w layerWriter) bytes(name string, b []byte) error {
	if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(b))}); err != nil {
		return err
	}
	_, err := w.Write(b)
	return err
}

func (w layerWriter) link(name, target string) error {
	return w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeSymlink, Mode: 0o777, Linkname: target})
}

func (w layerWriter) file(f File) error {
	name := strings.TrimPrefix(f.Dest, "/")
	if f.Link != "" {
		return w.link(name, f.Link)
	}
	src, err := os.Open(f.Src)
	if err != nil {
		return err
	}
	defer src.Close()
	st, err := src.Stat()
	if err != nil {
		return err
	}
	if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: int64(st.Mode().Perm()), Size: st.Size()}); err != nil {
		return err
	}
	_, err = io.Copy(w, src)
	return err
}

// tree copies a folder's files, folders and links; devices and the like are left out.
func (w layerWriter) tree(root string) error {
	return filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		switch {
		case e.IsDir():
			return w.dir(name+"/", 0o755)
		case e.Type()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			return w.link(name, target)
		case e.Type().IsRegular():
			return w.file(File{Dest: "/" + name, Src: path})
		}
		return nil
	})
}
