package image

import (
	"debug/elf"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// Program lists the files that an image needs to run a program of this machine
// at dest: itself, the dynamic loader and its shared libraries at their places,
// and glibc's name resolution, which no program names. A static program needs
// nothing but itself.
func Program(dest, path string) ([]File, error) {
	files := []File{{Dest: dest, Src: path}}
	f, err := elf.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%s is no program: %w", path, err)
	}
	libs, err := f.ImportedLibraries()
	f.Close()
	if err != nil || len(libs) == 0 {
		return files, err
	}
	out, err := exec.Command("ldd", path).Output()
	if err != nil {
		return nil, fmt.Errorf("ldd %s: %w", path, err)
	}
	for line := range strings.Lines(string(out)) {
		for _, w := range strings.Fields(line) {
			if !filepath.IsAbs(w) {
				continue
			}
			files = append(files, File{Dest: w, Src: w})
			if filepath.Base(w) == "libc.so.6" {
				nss, _ := filepath.Glob(filepath.Join(filepath.Dir(w), "libnss_[df]*.so.2")) // dns, files
				for _, n := range nss {
					files = append(files, File{Dest: n, Src: n})
				}
			}
		}
	}
	return files, nil
}
