package hop

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// client is the load on one proxy: connections that are kept, each of which
// asks again as soon as it has been answered. It is made for turns of a
// tenth of a second, and rests without a request in flight: what a proxy
// takes between two moments is then the price of the requests between them.
type client struct {
	epoll    int
	sockets  []int
	requests [][]byte // in turn
	next     int
	buffer   [16 << 10]byte
}

// The backend's answer begins and ends with these, and every proxy's too.
var (
	answerStart = []byte("HTTP/1.1 200 ")
	answerEnd   = []byte("hello world\n")
)

// newClient connects to a port of 127.0.0.1.
func newClient(port, connections int, requests [][]byte) (*client, error) {
	c := &client{requests: requests}
	var err error
	if c.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("make an epoll: %w", err)
	}
	for range connections {
		if err := c.connect(port); err != nil {
			c.close()
			return nil, err
		}
	}
	return c, nil
}

func (c *client) connect(port int) error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("make a socket: %w", err)
	}
	c.sockets = append(c.sockets, socket)
	if err := unix.Connect(socket, &unix.SockaddrInet4{Port: port, Addr: [4]byte(net.IPv4(127, 0, 0, 1).To4())}); err != nil {
		return fmt.Errorf("connect to port %d: %w", port, err)
	}
	if err := unix.SetsockoptInt(socket, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return fmt.Errorf("set TCP_NODELAY: %w", err)
	}
	return unix.EpollCtl(c.epoll, unix.EPOLL_CTL_ADD, socket, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(socket)})
}

func (c *client) close() {
	for _, s := range c.sockets {
		unix.Close(s)
	}
	unix.Close(c.epoll)
}

// load asks for a while and gives the number of answers. One that is not the
// backend's spoils it all: an error is cheaper than an answer.
func (c *client) load(d time.Duration) (answers int, err error) {
	end := time.Now().Add(d)
	for _, s := range c.sockets {
		if err := c.ask(s); err != nil {
			return 0, err
		}
	}
	events := make([]unix.EpollEvent, len(c.sockets))
	for asking := len(c.sockets); asking > 0; {
		n, err := unix.EpollWait(c.epoll, events, 5000)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n == 0 {
			return 0, fmt.Errorf("wait for answers: %d in 5 s, %w", n, err)
		}
		again := time.Now().Before(end)
		for _, e := range events[:n] {
			if err := c.answer(int(e.Fd)); err != nil {
				return 0, err
			}
			answers++
			if !again {
				asking--
			} else if err := c.ask(int(e.Fd)); err != nil {
				return 0, err
			}
		}
	}
	return answers, nil
}

func (c *client) ask(socket int) error {
	request := c.requests[c.next]
	c.next = (c.next + 1) % len(c.requests)
	if _, err := unix.Write(socket, request); err != nil { // fits into the socket's buffer
		return fmt.Errorf("send a request: %w", err)
	}
	return nil
}

// answer reads one answer to its end.
func (c *client) answer(socket int) error {
	size := 0
	for {
		n, err := unix.Read(socket, c.buffer[size:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		size += max(n, 0)
		switch text := c.buffer[:size]; {
		case err != nil || n == 0:
			return fmt.Errorf("the connection ended after %q: %w", text, err)
		case !bytes.HasPrefix(text, answerStart):
			return fmt.Errorf("answer: %q", text)
		case bytes.HasSuffix(text, answerEnd):
			return nil
		}
	}
}
