package envoy

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
)

// errLocked says that another process holds a lock file.
var errLocked = errors.New("locked by another process")

// lockFile opens path, making it if need be, and locks it (flock) without
// waiting. The lock lasts until the last copy of the descriptor is closed, by
// this process or by one that inherited it.
func lockFile(path string) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
			f.Close()
			if errors.Is(err, syscall.EWOULDBLOCK) {
				return nil, errLocked
			}
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		// Its last holder may have removed it between our open and lock.
		ours, err := f.Stat()
		if err == nil {
			if there, err := os.Stat(path); err == nil && os.SameFile(ours, there) {
				return f, nil
			}
		}
		f.Close()
	}
}

// A StateLock keeps other waggles away from a state directory.
type StateLock struct {
	file  *os.File
	paths Paths
	made  bool
}

// Holder is the waggle that holds a state directory.
type Holder struct {
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
	Command string    `json:"command"`
	// MadeDir tells that the directory was made by a waggle, which so
	// removes it in the end.
	MadeDir bool `json:"madeDir"`
}

// A HeldError says that another waggle holds the state directory.
type HeldError struct {
	Dir    string
	Holder Holder // zero if it has not yet written who it is
}

// Error names the directory and who holds it.
func (e *HeldError) Error() string {
	if e.Holder.PID == 0 {
		return fmt.Sprintf("state directory %s is in use by another waggle that is just starting", e.Dir)
	}
	return fmt.Sprintf("state directory %s is in use by process %d (%s), running since %s; stop it or choose another --state-dir",
		e.Dir, e.Holder.PID, e.Holder.Command, e.Holder.Started.Local().Format(time.DateTime))
}

// Lock makes stateDir (mode 0700) if need be and takes it for this process. If
// another waggle has it the error is a *HeldError.
func Lock(stateDir string) (*StateLock, error) {
	paths, err := PathsIn(stateDir)
	if err != nil {
		return nil, err
	}
	_, statErr := os.Stat(paths.Dir)
	if err := os.MkdirAll(paths.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make state directory: %w", err)
	}
	if err := checkOwn(paths.Dir); err != nil {
		return nil, err
	}
	f, err := lockFile(paths.waggleLock)
	if errors.Is(err, errLocked) {
		return nil, &HeldError{Dir: paths.Dir, Holder: readHolder(paths.waggleLock)}
	}
	if err != nil {
		return nil, fmt.Errorf("lock state directory: %w", err)
	}
	made := os.IsNotExist(statErr) || readHolder(paths.waggleLock).MadeDir
	if err := writeHolder(f, made); err != nil {
		f.Close()
		return nil, fmt.Errorf("write who holds the state directory: %w", err)
	}
	return &StateLock{file: f, paths: paths, made: made}, nil
}

// checkOwn refuses a directory that others own or write to: they could put
// their sockets in the place of ours, and it will be closed to them.
func checkOwn(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("look at state directory: %w", err)
	}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok && int(sys.Uid) != os.Geteuid() {
		return fmt.Errorf("state directory %s belongs to user %d and must be your own; choose another --state-dir", dir, sys.Uid)
	}
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("state directory %s can be written by others (%s); choose another --state-dir, or chmod 700 it", dir, info.Mode())
	}
	return nil
}

// Release gives the state directory back, and removes it if a waggle made it
// and nothing is left in it.
func (l *StateLock) Release() error {
	err := os.Remove(l.paths.waggleLock)
	if l.made {
		os.Remove(l.paths.Dir) // fails if something is left, or a survivor
	}
	if err := errors.Join(err, l.file.Close()); err != nil {
		return fmt.Errorf("release state directory %s: %w", l.paths.Dir, err)
	}
	return nil
}

func readHolder(path string) Holder {
	var h Holder
	if text, err := os.ReadFile(path); err == nil && json.Unmarshal(text, &h) != nil {
		return Holder{}
	}
	return h
}

func writeHolder(f *os.File, made bool) error {
	text, err := json.Marshal(Holder{PID: os.Getpid(), Started: time.Now(), Command: strings.Join(os.Args, " "), MadeDir: made})
	if err != nil {
		return err
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err = f.WriteAt(append(text, '\n'), 0)
	return err
}
