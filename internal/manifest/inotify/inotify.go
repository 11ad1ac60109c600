// Package inotify tells what happens in directories, in the kernel's words
// (inotify(7)). It knows which watch is of which directory, and nothing of
// what the files mean; what the kernel loses (IN_Q_OVERFLOW) is the caller's
// to look for.
package inotify

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// watched are the events of a directory that can mean something. IN_MODIFY is
// not among them: a file that is being written says nothing yet.
const watched = unix.IN_CLOSE_WRITE | unix.IN_MOVED_TO | unix.IN_MOVED_FROM | unix.IN_CREATE | unix.IN_DELETE |
	unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR

// Event is one event.
type Event struct {
	Watch  int32  // see Directory; -1 where events were lost
	Mask   uint32 // of unix.IN_*
	Cookie uint32 // joins the two halves of a rename; 0: none
	Name   string // of the entry in the directory; empty: the directory itself
}

// Is tells whether e is any of those in mask.
func (e Event) Is(mask uint32) bool { return e.Mask&mask != 0 }

// An Instance watches directories. Only Read may be called by another
// goroutine, always the same.
type Instance struct {
	file    *os.File
	buffer  []byte // Read's
	paths   map[int32]string
	watches map[string]int32
}

// New makes an instance without watches.
func New() (*Instance, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("start inotify: %w", err)
	}
	return &Instance{
		file:    os.NewFile(uintptr(fd), "inotify"),
		buffer:  make([]byte, 64*(unix.SizeofInotifyEvent+unix.NAME_MAX+1)),
		paths:   map[int32]string{},
		watches: map[string]int32{},
	}, nil
}

// Close ends all watches, and Read.
func (n *Instance) Close() error { return n.file.Close() }

// Directory gives the directory that a watch is of.
func (n *Instance) Directory(watch int32) (path string, ok bool) {
	path, ok = n.paths[watch]
	return path, ok
}

// Watches tells whether a directory is watched.
func (n *Instance) Watches(directory string) bool { return n.watches[directory] != 0 }

// Add watches a directory. Adding it again does nothing, unless another
// directory has taken its place.
func (n *Instance) Add(directory string) error {
	raw, err := n.file.SyscallConn()
	if err != nil {
		return err
	}
	var watch int
	var failure error
	if err := raw.Control(func(fd uintptr) { watch, failure = unix.InotifyAddWatch(int(fd), directory, watched) }); err != nil {
		return err
	}
	if failure != nil {
		return fmt.Errorf("watch %s: %w", directory, failure)
	}
	n.paths[int32(watch)], n.watches[directory] = directory, int32(watch)
	return nil
}

// Forget ends the watches of a directory and all below it.
func (n *Instance) Forget(directory string) {
	for path, watch := range n.watches {
		if path != directory && !strings.HasPrefix(path, directory+"/") {
			continue
		}
		delete(n.watches, path)
		delete(n.paths, watch)
		if raw, err := n.file.SyscallConn(); err == nil {
			// It fails where the kernel has ended the watch by itself.
			_ = raw.Control(func(fd uintptr) { _, _ = unix.InotifyRmWatch(int(fd), uint32(watch)) })
		}
	}
}

// Ended is told that the kernel has ended a watch.
func (n *Instance) Ended(watch int32) {
	if path, ok := n.paths[watch]; ok {
		delete(n.paths, watch)
		if n.watches[path] == watch {
			delete(n.watches, path)
		}
	}
}

// Read waits for events. It fails once the file is closed.
func (n *Instance) Read() ([]Event, error) {
	size, err := n.file.Read(n.buffer)
	if err != nil {
		return nil, err
	}
	var events []Event
	for buffer := n.buffer[:size]; len(buffer) >= unix.SizeofInotifyEvent; {
		e := Event{
			Watch:  int32(binary.NativeEndian.Uint32(buffer)),
			Mask:   binary.NativeEndian.Uint32(buffer[4:]),
			Cookie: binary.NativeEndian.Uint32(buffer[8:]),
		}
		end := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(buffer[12:]))
		name, _, _ := bytes.Cut(buffer[unix.SizeofInotifyEvent:end], []byte{0})
		e.Name = string(name)
		events = append(events, e)
		buffer = buffer[end:]
	}
	return events, nil
}
