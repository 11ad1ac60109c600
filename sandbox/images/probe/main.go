// probe is the client of the end-to-end tests: it makes requests from wherever
// it is run (a pod, a node, the external client, the machine) and prints one
// line of JSON for each, with all that a test may want to know of it.
//
//	probe [flags] URL     http, https, tcp (sends -data, prints what comes back)
//	                      or udp (the same, one datagram each way)
//	probe sleep           does nothing until it is killed: for pods to run probe in
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// Result is what one request has come to.
type Result struct {
	Start   time.Time           `json:"start"`
	Millis  float64             `json:"ms"`               // until the body's end
	Status  int                 `json:"status,omitempty"` // 0: no response
	Proto   string              `json:"proto,omitempty"`
	Headers map[string][]string `json:"headers,omitempty"`
	Body    string              `json:"body,omitempty"`
	Error   string              `json:"error,omitempty"`
	Local   string              `json:"local,omitempty"`  // address and port of this end
	Remote  string              `json:"remote,omitempty"` // of the other end
	Server  string              `json:"server,omitempty"` // common name or first DNS name of a TLS server's certificate
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == "sleep" {
		c := make(chan os.Signal, 1)
		signal.Notify(c, syscall.SIGTERM, syscall.SIGINT)
		<-c
		return
	}
	o, err := parse(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(2)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if o.untilEOF {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			cancel()
		}()
	}
	out := bufio.NewWriter(os.Stdout)
	var mu sync.Mutex
	flush := func() {
		mu.Lock()
		defer mu.Unlock()
		out.Flush()
	}
	if o.untilEOF { // whoever reads pays for each piece: an API server, a kubelet and a runtime
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		go func() {
			for range tick.C {
				flush()
			}
		}()
	}
	run(ctx, o, func(r Result) {
		mu.Lock()
		defer mu.Unlock()
		_ = json.NewEncoder(out).Encode(r)
		if !o.untilEOF {
			out.Flush()
		}
	})
	flush()
}

// run makes the requests: o.count of them, or as many as fit until ctx ends, on
// o.workers workers, at o.rate a second altogether.
func run(ctx context.Context, o *options, emit func(Result)) {
	tickets := make(chan struct{})
	go func() {
		defer close(tickets)
		var tick <-chan time.Time
		if o.rate > 0 {
			t := time.NewTicker(time.Duration(float64(time.Second) / o.rate))
			defer t.Stop()
			tick = t.C
		}
		for i := 0; o.untilEOF || i < o.count; i++ {
			if tick != nil {
				select {
				case <-tick:
				case <-ctx.Done():
					return
				}
			}
			select {
			case tickets <- struct{}{}:
			case <-ctx.Done():
				return
			}
		}
	}()
	var workers sync.WaitGroup
	for range o.workers {
		workers.Go(func() {
			do := o.requester()
			for range tickets {
				emit(do())
			}
		})
	}
	workers.Wait()
}

type list []string

func (l *list) String() string     { return fmt.Sprint(*l) }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

type options struct {
	url, method, data, host, connect, ca, source, sni  string
	headers                                            list
	count, workers                                     int
	rate                                               float64
	timeout                                            time.Duration
	untilEOF, keepAlive, insecure, http2, grpc, follow bool
}

func parse(args []string) (*options, error) {
	o := &options{}
	f := flag.NewFlagSet("probe", flag.ContinueOnError)
	f.StringVar(&o.method, "method", "", "method (GET, or POST with -data)")
	f.StringVar(&o.data, "data", "", "request body")
	f.StringVar(&o.host, "host", "", "Host header")
	f.StringVar(&o.connect, "connect", "", "HOST:PORT to connect to instead of the URL's")
	f.StringVar(&o.ca, "ca", "", "PEM text of certificates to trust")
	f.StringVar(&o.sni, "sni", "", "TLS server name, if not the URL's host")
	f.StringVar(&o.source, "source", "", "address to connect from")
	f.Var(&o.headers, "H", "NAME: VALUE, a request header (again for more)")
	f.IntVar(&o.count, "n", 1, "number of requests")
	f.IntVar(&o.workers, "c", 1, "requests at a time")
	f.Float64Var(&o.rate, "rate", 0, "requests a second, of all workers; 0: as fast as they are answered")
	f.DurationVar(&o.timeout, "timeout", 5*time.Second, "of one request")
	f.BoolVar(&o.untilEOF, "until-eof", false, "go on until standard input ends, whatever -n says")
	f.BoolVar(&o.keepAlive, "keepalive", false, "use a connection, or a socket, again")
	f.BoolVar(&o.insecure, "insecure", false, "trust any certificate")
	f.BoolVar(&o.http2, "http2", false, "speak HTTP/2: over TLS, or from the start (h2c)")
	f.BoolVar(&o.grpc, "grpc", false, "make gRPC health checks, over HTTP/2")
	f.BoolVar(&o.follow, "follow", false, "follow redirects")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() != 1 {
		return nil, fmt.Errorf("want one URL, got %q", f.Args())
	}
	o.url = f.Arg(0)
	if o.grpc {
		o.health()
	}
	return o, nil
}
