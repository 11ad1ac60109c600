package manifest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/waggle-mesh/waggle/internal/manifest/inotify"
)

const (
	// rescanInterval is how often everything is looked at, for what inotify
	// does not tell: files that are never closed, network file systems, links
	// to files elsewhere.
	rescanInterval = 10 * time.Second
	// rescanShare is how many times as long as it takes to look at everything
	// nothing is looked at: of many files, a thousandth of a CPU.
	rescanShare = 1000
	// grace is how long a file may be away before its objects go: programs
	// that replace a file by deleting and writing it leave such a gap.
	grace = 100 * time.Millisecond
)

// Watch follows the paths given to Load until ctx ends, and then closes the
// channel. A Batch comes whenever a file has been read again or is gone; where
// that changes Problems alone the Batch is empty. Batches that are not
// received in time are merged.
func (f *Feed) Watch(ctx context.Context) (<-chan Batch, error) {
	return f.watch(ctx, time.Tick(rescanInterval))
}

func (f *Feed) watch(ctx context.Context, tick <-chan time.Time) (<-chan Batch, error) {
	w, err := f.newWatcher()
	if err != nil {
		return nil, err
	}
	events := make(chan []inotify.Event)
	var reader sync.WaitGroup
	reader.Go(func() { // until the file is closed
		for {
			batch, err := w.inotify.Read()
			if err != nil {
				return
			}
			select {
			case events <- batch:
			case <-ctx.Done():
				return
			}
		}
	})
	out := make(chan Batch)
	go func() {
		defer close(out)
		w.run(ctx, events, tick, out)
		w.inotify.Close()
		reader.Wait()
	}()
	return out, nil
}

// watcher follows files. One goroutine owns it. It alone changes the feed's
// catalog, so it needs the lock for that, and not to look something up.
type watcher struct {
	feed    *Feed
	inotify *inotify.Instance
	pending Batch
	news    bool // there is something to send, if only an empty Batch

	leaving map[string]struct{} // files that are gone, for all we know
	expired *time.Timer         // when they have been for long enough
	// restless are files that did not look as they were read when they were
	// last looked at. They are read when they look the same twice.
	restless map[string]stamp
	rested   time.Time // when everything may be looked at again
	look     int       // how often everything was looked at
}

// newWatcher watches all directories and catches up with what has changed
// since they were read.
func (f *Feed) newWatcher() (*watcher, error) {
	n, err := inotify.New()
	if err != nil {
		return nil, err
	}
	w := &watcher{feed: f, inotify: n, leaving: map[string]struct{}{}, restless: map[string]stamp{}}
	w.expired = time.NewTimer(grace)
	w.expired.Stop()
	if err := w.rescan(true); errors.Is(err, unix.ENOSPC) {
		n.Close()
		return nil, fmt.Errorf("%w: sysctl fs.inotify.max_user_watches is too small", err)
	}
	return w, nil
}

// run follows events until ctx ends.
func (w *watcher) run(ctx context.Context, events <-chan []inotify.Event, tick <-chan time.Time, out chan<- Batch) {
	defer w.expired.Stop()
	for {
		send := out
		if !w.news {
			send = nil
		}
		select {
		case <-ctx.Done():
			return
		case batch := <-events:
			w.follow(batch)
		case <-w.expired.C:
			w.expire()
		case <-tick:
			w.lookAround(time.Now())
		case send <- w.pending:
			w.pending, w.news = Batch{}, false
		}
	}
}

// lookAround looks at everything, unless it did not long ago for what that
// takes.
func (w *watcher) lookAround(now time.Time) {
	if now.Before(w.rested) {
		return
	}
	_ = w.rescan(false) // what cannot be watched is rescanned
	if pause := rescanShare * time.Since(now); pause > rescanInterval {
		w.rested = now.Add(pause)
	}
}

// read reads files again and keeps what changes for the next Batch.
func (w *watcher) read(paths map[string]struct{}) {
	if len(paths) == 0 {
		return
	}
	w.feed.mu.Lock()
	defer w.feed.mu.Unlock()
	var batch Batch
	w.feed.readFiles(slices.Sorted(maps.Keys(paths)), &batch)
	w.pending.add(batch)
	w.news = true
}

// follow acts on events that came together.
func (w *watcher) follow(events []inotify.Event) {
	paths := map[string]struct{}{}
	missed := false
	for i, e := range events {
		directory, known := w.inotify.Directory(e.Watch)
		path := filepath.Join(directory, e.Name)
		switch {
		case e.Is(unix.IN_Q_OVERFLOW):
			missed = true
		case e.Is(unix.IN_IGNORED):
			w.inotify.Ended(e.Watch)
		case !known:
		case e.Is(unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_UNMOUNT):
			missed = missed || w.isRoot(directory)
		case hidden(e.Name):
			// A ConfigMap volume changes all its files by renaming a link.
			if strings.HasPrefix(e.Name, "..") && !e.Is(unix.IN_ISDIR) {
				missed = w.lookInto(directory, paths) || missed
			}
		case e.Is(unix.IN_DELETE | unix.IN_MOVED_FROM):
			w.gone(path, e.Is(unix.IN_ISDIR), renamed(e, events[i:]), paths)
		case e.Is(unix.IN_ISDIR):
			missed = w.lookInto(path, paths) || missed
		default:
			missed = w.appeared(path, e, paths) || missed
		}
	}
	w.read(paths)
	if missed {
		_ = w.rescan(true) // what cannot be watched is rescanned
	}
}

// renamed tells whether e is one half of a rename to a name that is followed.
func renamed(e inotify.Event, rest []inotify.Event) bool {
	return e.Is(unix.IN_MOVED_FROM) && slices.ContainsFunc(rest, func(to inotify.Event) bool {
		return to.Is(unix.IN_MOVED_TO) && to.Cookie == e.Cookie && (isManifest(to.Name) || to.Is(unix.IN_ISDIR) && !hidden(to.Name))
	})
}

// gone is told that an entry of a directory is no longer there. If it was a
// file its objects have a time of grace, unless it has another name now.
func (w *watcher) gone(path string, directory, renamed bool, paths map[string]struct{}) {
	w.feed.mu.Lock()
	defer w.feed.mu.Unlock()
	files := []string{path}
	if w.feed.catalog.files[path] == nil {
		files = nil // an editor's temporary file, most often
	}
	if directory || w.inotify.Watches(path) { // or a link to a directory
		w.inotify.Forget(path)
		files = w.feed.catalog.below(path)
	}
	for _, file := range files {
		if renamed {
			paths[file] = struct{}{}
			continue
		}
		w.leave(file)
	}
}

// leave begins a file's time of grace.
func (w *watcher) leave(file string) {
	w.leaving[file] = struct{}{}
	w.expired.Reset(grace)
}

// expire forgets the files that have not come back.
func (w *watcher) expire() {
	gone := map[string]struct{}{}
	for path := range w.leaving {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			gone[path] = struct{}{}
		}
	}
	clear(w.leaving)
	w.read(gone)
}

// appeared is told of a new or written entry that is no directory, and tells
// whether it is a link to one, so that everything must be looked at.
func (w *watcher) appeared(path string, e inotify.Event, paths map[string]struct{}) bool {
	if e.Is(unix.IN_CREATE) {
		// A file that was opened to be written will be closed; a link is
		// there at once.
		info, err := os.Lstat(path)
		if err != nil || info.Mode().IsRegular() && stampOf(info.Sys().(*syscall.Stat_t)).links < 2 {
			return false
		}
	}
	if e.Is(unix.IN_CREATE|unix.IN_MOVED_TO) && isDirectory(path) {
		return w.below(path)
	}
	if w.wanted(path) {
		paths[path] = struct{}{}
	}
	return false
}

// lookInto watches a directory, and those below, and adds the files in it
// that are not as they were read. Of a directory that was not given to Load
// only the files that were count. Where links lead further it gives true:
// whether that is somewhere new can only be told by looking at everything.
func (w *watcher) lookInto(directory string, paths map[string]struct{}) bool {
	if !w.below(directory) {
		for _, r := range w.feed.roots {
			if r.file && filepath.Dir(r.path) == directory {
				paths[r.path] = struct{}{}
			}
		}
		return false
	}
	below := newWalk(func(path string, s stamp) {
		if f := w.feed.catalog.files[path]; f == nil || f.stamp != s {
			paths[path] = struct{}{}
		}
	})
	below.stay = true
	below.visit = func(path string) { _ = w.inotify.Add(path) } // or it is rescanned
	below.directory(directory)
	return below.linked
}

// rescan looks at everything. What is not as it was read is read at once if
// events were missed, else when it looks the same the next time: it may be
// half written. The error is the first one of watching.
func (w *watcher) rescan(missed bool) error {
	var failure error
	watch := func(directory string) {
		if err := w.inotify.Add(directory); err != nil && failure == nil {
			failure = err
		}
	}
	w.look++
	paths := map[string]struct{}{}
	everything := newWalk(func(path string, s stamp) {
		f := w.feed.catalog.files[path]
		emptied := s.size == 0 && f != nil // a writer's first step
		if f != nil {
			f.look = w.look
		}
		if f != nil && f.stamp == s {
			delete(w.restless, path)
		} else if missed && !emptied || w.restless[path] == s {
			delete(w.restless, path)
			paths[path] = struct{}{}
		} else {
			w.restless[path] = s
		}
	})
	everything.visit = watch
	everything.roots(w.feed.roots)
	for path, f := range w.feed.catalog.files {
		if f.look != w.look {
			delete(w.restless, path)
			w.leave(path)
		}
	}
	w.feed.mu.Lock()
	if !slices.Equal(w.feed.unreadable, everything.problems) {
		w.feed.unreadable, w.news = everything.problems, true
	}
	w.feed.mu.Unlock()
	w.read(paths)
	return failure
}

// isRoot tells whether a directory was given to Load, or holds a file that was.
func (w *watcher) isRoot(directory string) bool {
	return slices.ContainsFunc(w.feed.roots, func(r root) bool {
		return r.path == directory || r.file && filepath.Dir(r.path) == directory
	})
}

// below tells whether a path lies in a directory that was given to Load.
func (w *watcher) below(path string) bool {
	return slices.ContainsFunc(w.feed.roots, func(r root) bool {
		return !r.file && (r.path == "." || path == r.path || strings.HasPrefix(path, strings.TrimSuffix(r.path, "/")+"/"))
	})
}

// wanted tells whether a file is one to read.
func (w *watcher) wanted(path string) bool {
	return isManifest(filepath.Base(path)) && w.below(path) ||
		slices.ContainsFunc(w.feed.roots, func(r root) bool { return r.file && r.path == path })
}
