package cni

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// ConflistName sorts before those of other plugins, of which the runtime
// takes the first.
const ConflistName = "05-waggle.conflist"

// Installation is where the runtime finds the plugin.
type Installation struct {
	BinDir  string // of plugins: /opt/cni/bin
	ConfDir string // of conflists: /etc/cni/net.d
	Binary  string // what to install; empty: the running program
	Socket  string // the agent's, as the runtime's mount namespace names it
}

// Install puts the plugin, then the conflist, in place; what is right already
// is not written. The runtime counts the network as ready from then on.
func (i Installation) Install() error {
	binary := i.Binary
	if binary == "" {
		binary = "/proc/self/exe"
	}
	if err := replaceBinary(filepath.Join(i.BinDir, PluginName), binary); err != nil {
		return err
	}
	conflist, err := i.conflist()
	if err != nil {
		return err
	}
	path := filepath.Join(i.ConfDir, ConflistName)
	if have, err := os.ReadFile(path); err == nil && bytes.Equal(have, conflist) {
		return nil
	}
	if err := os.MkdirAll(i.ConfDir, 0o755); err != nil {
		return fmt.Errorf("make directory for the conflist: %w", err)
	}
	return replaceFile(path, conflist, 0o644)
}

// Uninstall removes both, the conflist first. That they are not there is no
// error.
func (i Installation) Uninstall() error {
	var errs []error
	for _, path := range []string{filepath.Join(i.ConfDir, ConflistName), filepath.Join(i.BinDir, PluginName)} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("uninstall: %w", err))
		}
	}
	return errors.Join(errs...)
}

// conflist offers several versions: a runtime that knows cniVersions takes
// the newest it speaks, another one cniVersion.
func (i Installation) conflist() ([]byte, error) {
	if !filepath.IsAbs(i.Socket) {
		return nil, fmt.Errorf("write conflist: socket %q is not an absolute path", i.Socket)
	}
	list := struct {
		CNIVersion  string              `json:"cniVersion"`
		CNIVersions []string            `json:"cniVersions"`
		Name        string              `json:"name"`
		Plugins     []map[string]string `json:"plugins"`
	}{"1.0.0", []string{"0.4.0", "1.0.0", "1.1.0"}, "waggle", []map[string]string{{"type": PluginName, "socket": i.Socket}}}
	text, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write conflist: %w", err)
	}
	return append(text, '\n'), nil
}

// replaceBinary copies a program over another, which may be running.
func replaceBinary(path, from string) error {
	if same, err := sameContent(path, from); same || err != nil {
		return err
	}
	dir, name := filepath.Split(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make directory for %s: %w", name, err)
	}
	source, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("install %s: %w", path, err)
	}
	defer source.Close()
	file, err := os.CreateTemp(dir, "."+name+"-*")
	if err != nil {
		return fmt.Errorf("install %s: %w", path, err)
	}
	_, err = io.Copy(file, source)
	if err == nil {
		err = file.Chmod(0o755)
	}
	if err == nil {
		err = file.Sync() // or a power cut leaves an empty program
	}
	err = errors.Join(err, file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		os.Remove(file.Name())
		return fmt.Errorf("install %s: %w", path, err)
	}
	return nil
}

// sameContent compares an installed program, which may not be there.
func sameContent(path, from string) (bool, error) {
	a, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read installed program: %w", err)
	}
	defer a.Close()
	b, err := os.Open(from)
	if err != nil {
		return false, fmt.Errorf("read program to install: %w", err)
	}
	defer b.Close()
	left, right := make([]byte, 1<<20), make([]byte, 1<<20)
	for {
		n, errA := io.ReadFull(a, left)
		m, errB := io.ReadFull(b, right)
		if !bytes.Equal(left[:n], right[:m]) {
			return false, nil
		}
		if errA != nil || errB != nil { // both have ended, or one is longer
			return ended(errA) && ended(errB), nil
		}
	}
}

func ended(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }
