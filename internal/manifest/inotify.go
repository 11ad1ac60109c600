package manifest

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

// event is one inotify event (inotify(7)).
type event struct {
	watch  int32
	mask   uint32
	cookie uint32 // joins the two halves of a rename
	name   string // of the entry in the directory
}

func (e event) is(mask uint32) bool { return e.mask&mask != 0 }

// inotify watches directories. Only read may be called by another goroutine,
// always the same.
type inotify struct {
	file    *os.File
	buffer  []byte // read's
	paths   map[int32]string
	watches map[string]int32
}

func newInotify() (*inotify, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("start inotify: %w", err)
	}
	return &inotify{
		file:    os.NewFile(uintptr(fd), "inotify"),
		buffer:  make([]byte, 64*(unix.SizeofInotifyEvent+unix.NAME_MAX+1)),
		paths:   map[int32]string{},
		watches: map[string]int32{},
	}, nil
}

// add watches a directory. Adding it again does nothing, unless another
// directory has taken its place.
func (n *inotify) add(directory string) error {
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

// forget ends the watches of a directory and all below it.
func (n *inotify) forget(directory string) {
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

// ended is told that the kernel has ended a watch.
func (n *inotify) ended(watch int32) {
	if path, ok := n.paths[watch]; ok {
		delete(n.paths, watch)
		if n.watches[path] == watch {
			delete(n.watches, path)
		}
	}
}

// read waits for events. It fails once the file is closed.
func (n *inotify) read() ([]event, error) {
	size, err := n.file.Read(n.buffer)
	if err != nil {
		return nil, err
	}
	var events []event
	for buffer := n.buffer[:size]; len(buffer) >= unix.SizeofInotifyEvent; {
		e := event{
			watch:  int32(binary.NativeEndian.Uint32(buffer)),
			mask:   binary.NativeEndian.Uint32(buffer[4:]),
			cookie: binary.NativeEndian.Uint32(buffer[8:]),
		}
		end := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(buffer[12:]))
		name, _, _ := bytes.Cut(buffer[unix.SizeofInotifyEvent:end], []byte{0})
		e.name = string(name)
		events = append(events, e)
		buffer = buffer[end:]
	}
	return events, nil
}
