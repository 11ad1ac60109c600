package cni

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const (
	commandPatience = 2 * time.Minute  // the longest that a command may take
	drainPeriod     = 15 * time.Second // between tries of queued deletions
)

// Serve answers plugins until ctx ends and then finishes what has begun. The
// socket's name stays: another process renames its own over it, so that there
// is no moment without one.
func (s *Server) Serve(ctx context.Context) error {
	listener, err := listen(s.options.Socket)
	if err != nil {
		return err
	}
	var working sync.WaitGroup
	defer working.Wait()
	stop := context.AfterFunc(ctx, func() { listener.Close() })
	defer stop()
	working.Go(func() { s.drainAgainAndAgain(ctx) })
	for {
		conn, err := listener.AcceptUnix()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept on %s: %w", s.options.Socket, err)
		}
		working.Go(func() { s.answer(context.WithoutCancel(ctx), conn) })
	}
}

func (s *Server) drainAgainAndAgain(ctx context.Context) {
	ticker := time.NewTicker(drainPeriod)
	defer ticker.Stop()
	for {
		if err := s.drain(ctx); err != nil && ctx.Err() == nil {
			s.options.Log.Warn("queued deletions", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// answer serves one connection, which holds one request.
func (s *Server) answer(ctx context.Context, conn *net.UnixConn) {
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, commandPatience)
	defer cancel()
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return
	}
	var r request
	netns, err := receive(conn, &r)
	if netns != nil {
		defer netns.Close()
	}
	if err != nil {
		s.options.Log.Warn("read the plugin's request", "error", err)
		return
	}
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		return
	}
	go func() { // until the plugin, or this function, closes the connection
		_, _ = conn.Read(make([]byte, 1))
		cancel()
	}()
	// A plugin that goes before it has read the answer makes no difference:
	// the runtime, which has not got it either, deletes the attachment.
	if err := send(conn, s.execute(ctx, r, netns), nil); err != nil {
		s.options.Log.Warn("answer the plugin", "command", r.Command, "pod", r.Pod, "error", err)
	}
}

// listen makes the socket under a name of its own and renames it to the name
// that plugins know, whoever had it before.
func listen(path string) (*net.UnixListener, error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make directory of %s: %w", path, err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return nil, fmt.Errorf("protect directory of %s: %w", path, err)
	}
	own := fmt.Sprintf("%s.%d", path, os.Getpid())
	if err := os.Remove(own); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove %s: %w", own, err)
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: own, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", own, err)
	}
	listener.SetUnlinkOnClose(false)
	err = os.Chmod(own, 0o660)
	if err == nil {
		err = os.Rename(own, path)
	}
	if err != nil {
		listener.Close()
		os.Remove(own)
		return nil, fmt.Errorf("take over %s: %w", path, err)
	}
	return listener, nil
}
