package load

import (
	"bytes"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

var (
	request     = []byte("GET / HTTP/1.1\r\nHost: bench.example.com\r\n\r\n")
	lastRequest = []byte("GET / HTTP/1.1\r\nHost: bench.example.com\r\nConnection: close\r\n\r\n")
	isLast      = []byte("\r\nConnection: close\r\n")
	requestEnd  = []byte("\r\n\r\n")

	answer      = []byte("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nhello world\n")
	answerStart = []byte("HTTP/1.1 200 ")
	answerEnd   = []byte("hello world\n")
)

// roles of the server's sockets, by file descriptor.
const (
	unknown = iota
	listens
	listensForStreams
	answers
	takes
)

// answerer does everything on one thread.
type answerer struct {
	epoll  int
	roles  [1 << 16]uint8
	buffer [256 << 10]byte
}

func serve() error {
	s := &answerer{}
	var err error
	if s.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return fmt.Errorf("make an epoll: %w", err)
	}
	for port, role := range map[int]uint8{Port: listens, StreamPort: listensForStreams} {
		if err := s.listen(&unix.SockaddrInet4{Port: port}, unix.AF_INET, role); err != nil {
			return fmt.Errorf("listen on port %d: %w", port, err)
		}
		if err := s.listen(&unix.SockaddrInet6{Port: port}, unix.AF_INET6, role); err != nil {
			return fmt.Errorf("listen on port %d: %w", port, err)
		}
	}
	fmt.Fprintln(os.Stdout, "true")
	events := make([]unix.EpollEvent, 128)
	for {
		n, err := wait(s.epoll, events)
		if err != nil {
			return err
		}
		for _, e := range events[:n] {
			s.serve(int(e.Fd))
		}
	}
}

func (s *answerer) listen(at unix.Sockaddr, family int, role uint8) error {
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	if family == unix.AF_INET6 {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
			return err
		}
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return err
	}
	if err := unix.Bind(fd, at); err != nil {
		return err
	}
	if err := unix.Listen(fd, 1024); err != nil {
		return err
	}
	return s.watch(fd, role)
}

func (s *answerer) watch(fd int, role uint8) error {
	s.roles[fd] = role
	return unix.EpollCtl(s.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
}

func (s *answerer) serve(fd int) {
	switch role := s.roles[fd]; role {
	case listens, listensForStreams:
		s.accept(fd, role+2)
	case answers:
		s.answer(fd)
	case takes:
		if n := read(fd, s.buffer[:]); n == 0 || n < 0 && n != again {
			unix.Close(fd)
		}
	}
}

func (s *answerer) accept(fd int, role uint8) {
	n := accept(fd)
	if n < 0 {
		return // the client has gone
	}
	if n >= len(s.roles) || s.watch(n, role) != nil {
		unix.Close(n)
	}
}

// answer answers one request; they come in one piece.
func (s *answerer) answer(fd int) {
	n := read(fd, s.buffer[:4096])
	if n == again {
		return
	}
	if n <= 0 || !bytes.HasSuffix(s.buffer[:n], requestEnd) {
		unix.Close(fd)
		return
	}
	write(fd, answer)
	if bytes.Contains(s.buffer[:n], isLast) {
		unix.Close(fd)
	}
}
