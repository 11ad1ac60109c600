package envoy

import (
	"fmt"
	"path/filepath"
)

// maxSocketPath is the longest path of a UNIX socket: sun_path has 108 bytes
// and the last is NUL, see unix(7).
const maxSocketPath = 107

// Paths are the files in a state directory.
type Paths struct {
	Dir         string // absolute
	XDSSocket   string // where Envoy finds its configuration
	AdminSocket string // where Envoy takes commands
	EnvoyLog    string // what Envoy writes to stdout and stderr
	waggleLock  string
	envoyLock   string
}

// PathsIn returns the files of a state directory. A directory whose name is
// too long for the sockets in it is an error that says so.
func PathsIn(stateDir string) (Paths, error) {
	dir, err := filepath.Abs(stateDir)
	if err != nil {
		return Paths{}, fmt.Errorf("find state directory %s: %w", stateDir, err)
	}
	p := Paths{
		Dir:         dir,
		XDSSocket:   filepath.Join(dir, "xds.sock"),
		AdminSocket: filepath.Join(dir, "admin.sock"),
		EnvoyLog:    filepath.Join(dir, "envoy.log"),
		waggleLock:  filepath.Join(dir, "waggle.lock"),
		envoyLock:   filepath.Join(dir, "envoy.lock"),
	}
	if n := len(p.AdminSocket); n > maxSocketPath {
		return Paths{}, fmt.Errorf("state directory %s is too long: the UNIX socket %s would have a path of %d bytes and the limit is %d; choose a directory whose path has at most %d bytes",
			dir, p.AdminSocket, n, maxSocketPath, maxSocketPath-len("/admin.sock"))
	}
	return p, nil
}

// bootstrapPattern matches the bootstrap files, which are named by content.
func (p Paths) bootstrapPattern() string { return filepath.Join(p.Dir, "bootstrap-*.json") }
