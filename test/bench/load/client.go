package load

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// asker obeys orders in its own process.
type asker struct {
	pools  []*pool
	buffer [256 << 10]byte
	times  histogram
}

type pool struct {
	epoll   int
	sockets []int
	asked   []time.Duration // when each socket's request was sent, on the clock of the slice
	idle    []int           // indices of the sockets that wait for their turn, in that order
}

func obey() error {
	c := &asker{}
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var o order
		if err := in.Decode(&o); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		r, err := c.do(o)
		if err != nil {
			r.Error = fmt.Sprintf("%s %s: %v", o.Do, o.Target, err)
		}
		if err := out.Encode(r); err != nil {
			return err
		}
	}
}

func (c *asker) do(o order) (report, error) {
	switch o.Do {
	case "open":
		return c.open(o)
	case "ask":
		p := c.pools[o.Pool]
		if len(p.sockets) == 1 {
			d, err := c.askOne(p.sockets[0], o.For)
			return report{Done: d}, err
		}
		d, err := c.askAll(p, o.AtOnce, o.For)
		return report{Done: d}, err
	case "connect":
		d, err := c.connect(o)
		return report{Done: d}, err
	case "stream":
		d, err := c.stream(o)
		return report{Done: d}, err
	}
	return report{}, errors.New("unknown order")
}

func (c *asker) open(o order) (report, error) {
	p := &pool{}
	var err error
	if p.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return report{}, fmt.Errorf("make an epoll: %w", err)
	}
	for range o.Connections {
		fd, err := dial(o.Target)
		if err != nil {
			return report{}, err
		}
		p.sockets = append(p.sockets, fd)
		if err := c.ask(fd); err != nil {
			return report{}, err
		}
		event := &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(len(p.sockets) - 1)}
		if err := unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, fd, event); err != nil {
			return report{}, err
		}
	}
	p.asked, p.idle = make([]time.Duration, len(p.sockets)), make([]int, 0, len(p.sockets)+1)
	c.pools = append(c.pools, p)
	return report{Pool: len(c.pools) - 1}, nil
}

// dial connects; whoever gets no answer for long is told so.
func dial(to netip.AddrPort) (int, error) {
	var at unix.Sockaddr
	family := unix.AF_INET
	if to.Addr().Is4() {
		at = &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
	} else {
		family, at = unix.AF_INET6, &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("make a socket: %w", err)
	}
	limit := &unix.Timeval{Sec: patience / 1000}
	err = errors.Join(
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, limit),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, limit),
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1),
	)
	if err == nil {
		err = unix.Connect(fd, at)
	}
	if err != nil {
		unix.Close(fd)
		return 0, fmt.Errorf("connect: %w", err)
	}
	return fd, nil
}

func (c *asker) ask(fd int) error {
	if n := write(fd, request); n != len(request) {
		return fmt.Errorf("send a request: %d", n)
	}
	return c.answer(fd)
}

// answer reads one answer to its end. One that is not the server's spoils it
// all: an error is cheaper than an answer.
func (c *asker) answer(fd int) error {
	size := 0
	for {
		n := read(fd, c.buffer[size:4096])
		size += max(n, 0)
		text := c.buffer[:size]
		switch {
		case n <= 0:
			return fmt.Errorf("the connection ended (%d) after %q", n, text)
		case !bytes.HasPrefix(text, answerStart[:min(size, len(answerStart))]):
			return fmt.Errorf("answer: %q", text)
		case bytes.HasSuffix(text, answerEnd):
			return nil
		}
	}
}

func (c *asker) askOne(fd int, d time.Duration) (Done, error) {
	var done Done
	c.times.clear()
	began := time.Now()
	for done.Took < d {
		if err := c.ask(fd); err != nil {
			return done, err
		}
		now := time.Since(began)
		c.times.add(now - done.Took)
		done.Took = now
		done.Count++
	}
	done.P50, done.P99 = c.times.quantile(0.5), c.times.quantile(0.99)
	return done, nil
}

// askAll has so many requests on their way at once, each on the connection that
// has waited longest. It rests without one in flight: what was used between two
// moments is the price of the requests between them.
func (c *asker) askAll(p *pool, atOnce int, d time.Duration) (Done, error) {
	var done Done
	c.times.clear()
	p.idle = p.idle[:0]
	for i := range p.sockets {
		p.idle = append(p.idle, i)
	}
	began := time.Now()
	asking := 0
	for range min(atOnce, len(p.sockets)) {
		if err := p.askNext(time.Since(began)); err != nil {
			return done, err
		}
		asking++
	}
	var events [128]unix.EpollEvent
	for asking > 0 {
		n, err := wait(p.epoll, events[:])
		if err == nil && n == 0 {
			err = errors.New("no answer")
		}
		if err != nil {
			return done, err
		}
		for _, e := range events[:n] {
			if err := c.answer(p.sockets[e.Fd]); err != nil {
				return done, err
			}
			now := time.Since(began)
			c.times.add(now - p.asked[e.Fd])
			done.Count++
			p.idle = append(p.idle, int(e.Fd))
			if now >= d {
				asking--
			} else if err := p.askNext(now); err != nil {
				return done, err
			}
		}
	}
	done.Took = time.Since(began)
	done.P50, done.P99 = c.times.quantile(0.5), c.times.quantile(0.99)
	return done, nil
}

// askNext sends a request on the connection that has waited longest.
func (p *pool) askNext(now time.Duration) error {
	i := p.idle[0]
	p.idle = p.idle[:copy(p.idle, p.idle[1:])]
	p.asked[i] = now
	if n := write(p.sockets[i], request); n != len(request) {
		return fmt.Errorf("send a request: %d", n)
	}
	return nil
}

func (c *asker) connect(o order) (Done, error) {
	var done Done
	began := time.Now()
	for done.Took < o.For {
		fd, err := dial(o.Target)
		if err != nil {
			return done, err
		}
		if n := write(fd, lastRequest); n != len(lastRequest) {
			return done, fmt.Errorf("send a request: %d", n)
		}
		if err := c.answer(fd); err != nil {
			return done, err
		}
		if n := read(fd, c.buffer[:1]); n != 0 {
			return done, fmt.Errorf("the connection did not end: %d", n)
		}
		unix.Close(fd)
		done.Count++
		done.Took = time.Since(began)
	}
	return done, nil
}

func (c *asker) stream(o order) (Done, error) {
	var done Done
	fd, err := dial(o.Target)
	if err != nil {
		return done, err
	}
	defer unix.Close(fd)
	for began := time.Now(); ; {
		if time.Since(began) >= o.For {
			// the server ends it when it has read all
			if err := unix.Shutdown(fd, unix.SHUT_WR); err != nil {
				return done, fmt.Errorf("end the stream: %w", err)
			}
			if n := read(fd, c.buffer[:1]); n != 0 {
				return done, fmt.Errorf("end the stream: %d", n)
			}
			done.Took = time.Since(began)
			return done, nil
		}
		n := write(fd, c.buffer[:128<<10])
		if n < 0 {
			return done, fmt.Errorf("send: %d", n)
		}
		done.Count += int64(n)
	}
}
