package routes

import (
	"net"
	"net/http"

	"github.com/waggle-mesh/waggle/test/bench/request"
)

// backend is a server that says its name in each answer.
type backend struct {
	name   string
	port   int
	server *http.Server
}

func newBackend(name string) (*backend, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	b := &backend{name: name, port: l.Addr().(*net.TCPAddr).Port}
	b.server = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(request.BackendHeader, name)
		w.Write([]byte("hello\n"))
	})}
	go b.server.Serve(l)
	return b, nil
}

func (b *backend) close() { b.server.Close() }

// newBackends makes one backend per name.
func newBackends(names ...string) (all []*backend, closeAll func(), err error) {
	closeAll = func() {
		for _, b := range all {
			b.close()
		}
	}
	for _, name := range names {
		b, err := newBackend(name)
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		all = append(all, b)
	}
	return all, closeAll, nil
}
