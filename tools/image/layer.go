package main

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// layer is a tar archive in the making. Times, owners and order are always
// the same.
type layer struct {
	tar  *tar.Writer
	text bytes.Buffer
	dirs []string
	err  error
}

func newLayer() *layer {
	l := &layer{}
	l.tar = tar.NewWriter(&l.text)
	return l
}

func (l *layer) add(h tar.Header, content []byte) {
	if l.err != nil {
		return
	}
	h.Format, h.Size = tar.FormatPAX, int64(len(content))
	if l.err = l.tar.WriteHeader(&h); l.err == nil {
		_, l.err = l.tar.Write(content)
	}
}

// dir adds a directory and those above it, once.
func (l *layer) dir(name string, mode int64) {
	if name == "." || slices.Contains(l.dirs, name) {
		return
	}
	l.dir(path.Dir(name), 0o755)
	l.dirs = append(l.dirs, name)
	l.add(tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: mode}, nil)
}

func (l *layer) file(name string, mode int64, content []byte) {
	l.dir(path.Dir(name), 0o755)
	l.add(tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode}, content)
}

func (l *layer) program(name, source string) {
	content, err := os.ReadFile(source)
	if err != nil && l.err == nil {
		l.err = err
	}
	l.file(name, 0o755, content)
}

func (l *layer) link(name, target string) {
	l.dir(path.Dir(name), 0o755)
	l.add(tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}, nil)
}

func (l *layer) done() (v1.Layer, error) {
	if l.err != nil {
		return nil, l.err
	}
	if err := l.tar.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(l.text.Bytes())), nil })
}

func envoyLayer(envoy string) (v1.Layer, error) {
	l := newLayer()
	l.file("etc/passwd", 0o644, []byte("root:x:0:0:root:/:/sbin/nologin\nwaggle:x:65532:65532:waggle:/:/sbin/nologin\n"))
	l.file("etc/group", 0o644, []byte("root:x:0:\nwaggle:x:65532:\n"))
	l.file("etc/nsswitch.conf", 0o644, []byte("hosts: files dns\n"))
	l.dir("tmp", 0o1777)
	l.program("usr/bin/envoy", envoy)
	libraries, err := librariesOf(envoy)
	if err != nil {
		return nil, err
	}
	for _, lib := range libraries {
		l.program(strings.TrimPrefix(lib, "/"), lib)
	}
	return l.done()
}

func waggleLayer(waggle, plugin string) (v1.Layer, error) {
	l := newLayer()
	l.program("usr/bin/waggle", waggle)
	l.program("usr/bin/waggle-cni", plugin)
	for _, also := range []string{"cilium", "cilium-agent", "cilium-dbg"} {
		l.link("usr/bin/"+also, "waggle")
	}
	return l.done()
}

// static refuses a program that needs libraries.
func static(program string) error {
	f, err := elf.Open(program)
	if err != nil {
		return fmt.Errorf("read program %s: %w", program, err)
	}
	defer f.Close()
	if libraries, err := f.ImportedLibraries(); err == nil && len(libraries) > 0 {
		return fmt.Errorf("%s needs %s: build it with CGO_ENABLED=0", program, strings.Join(libraries, ", "))
	}
	return nil
}

// libraryDirs is where this machine's loader looks.
var libraryDirs = []string{"/lib/*-linux-gnu", "/usr/lib/*-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib"}

// librariesOf finds the loader and all libraries that a program is linked
// with, and what glibc opens by itself to look up names.
func librariesOf(program string) ([]string, error) {
	var found []string
	wanted, err := needs(program)
	if err != nil {
		return nil, err
	}
	wanted = append(wanted, "libnss_files.so.2", "libnss_dns.so.2", "libresolv.so.2")
	for len(wanted) > 0 {
		lib := wanted[0]
		wanted = wanted[1:]
		file, err := locate(lib)
		if err != nil {
			return nil, err
		}
		if slices.Contains(found, file) {
			continue
		}
		found = append(found, file)
		more, err := needs(file)
		if err != nil {
			return nil, err
		}
		wanted = append(wanted, more...)
	}
	slices.Sort(found)
	return found, nil
}

// needs are the loader and the libraries that an ELF file names.
func needs(file string) ([]string, error) {
	f, err := elf.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read program %s: %w", file, err)
	}
	defer f.Close()
	names, err := f.ImportedLibraries()
	if err != nil {
		return nil, fmt.Errorf("read program %s: %w", file, err)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			text, err := io.ReadAll(p.Open())
			if err != nil {
				return nil, fmt.Errorf("read program %s: %w", file, err)
			}
			names = append(names, strings.TrimRight(string(text), "\x00"))
		}
	}
	return names, nil
}

// locate gives a library's path; one that has a path already is taken as
// it is, since programs name their loader by it.
func locate(lib string) (string, error) {
	if filepath.IsAbs(lib) {
		return lib, nil
	}
	for _, pattern := range libraryDirs {
		if files, _ := filepath.Glob(filepath.Join(pattern, lib)); len(files) > 0 {
			return files[0], nil
		}
	}
	return "", fmt.Errorf("find library %s: it is in none of %s", lib, strings.Join(libraryDirs, ", "))
}
