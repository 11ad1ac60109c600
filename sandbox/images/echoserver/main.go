// echoserver answers every request with a description of it, in the text form
// that the echoserver of Kubernetes' old test images had. Port 8080, at every
// address or the one that is its argument. A datagram
// to that port is answered with its own text behind the host's name. SIGTERM
// lets requests end that have begun, and answers datagrams that have come.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

func main() {
	address := net.JoinHostPort(strings.Join(os.Args[1:], ""), "8080")
	datagrams, err := net.ListenPacket("udp", address)
	if err != nil {
		log.Fatal(err)
	}
	var answering sync.WaitGroup
	answering.Go(func() { answer(datagrams.(*net.UDPConn)) })
	server := http.Server{Addr: address, Handler: http.HandlerFunc(echo), Protocols: new(http.Protocols)}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	told, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go func() {
		if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
			log.Fatal(err)
		}
	}()
	<-told.Done()
	if err := server.Shutdown(context.Background()); err != nil {
		log.Print(err)
	}
	_ = datagrams.SetReadDeadline(time.Now())
	answering.Wait()
}

// answer answers datagrams until it is told to end, and then those that have
// come. Meanwhile the socket takes none from other machines: the kernel refuses
// them, and their senders know.
func answer(c *net.UDPConn) {
	hostname, _ := os.Hostname()
	b := make([]byte, 1500)
	answered := func(n int) []byte { return append([]byte(hostname+" "), b[:n]...) }
	for {
		n, from, err := c.ReadFrom(b)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			log.Fatal(err)
		}
		_, _ = c.WriteTo(answered(n), from)
	}
	raw, err := c.SyscallConn()
	if err != nil {
		log.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) {
		for {
			_ = syscall.BindToDevice(int(fd), "lo")
			n, from, err := syscall.Recvfrom(int(fd), b, syscall.MSG_DONTWAIT)
			if err != nil {
				return
			}
			_ = syscall.BindToDevice(int(fd), "")
			_ = syscall.Sendto(int(fd), answered(n), 0, from)
		}
	})
}

func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var b strings.Builder
	hostname, _ := os.Hostname()
	fmt.Fprintf(&b, "\n\nHostname: %s\n\nPod Information:\n", hostname)
	for _, v := range []struct{ label, env string }{{"node name", "NODE_NAME"}, {"pod name", "POD_NAME"}, {"pod namespace", "POD_NAMESPACE"}, {"pod IP", "POD_IP"}} {
		if value := os.Getenv(v.env); value != "" {
			fmt.Fprintf(&b, "\t%s:\t%s\n", v.label, value)
		}
	}
	fmt.Fprintf(&b, "\nServer values:\n\tserver_version=waggle-echoserver\n")
	client, _ := netip.ParseAddrPort(r.RemoteAddr)
	fmt.Fprintf(&b, "\nRequest Information:\n\tclient_address=%s\n\tmethod=%s\n\treal path=%s\n\tquery=%s\n\trequest_version=%d.%d\n\trequest_scheme=http\n\trequest_uri=http://%s%s\n",
		client.Addr().Unmap(), r.Method, r.URL.RequestURI(), r.URL.RawQuery, r.ProtoMajor, r.ProtoMinor, net.JoinHostPort((&url.URL{Host: r.Host}).Hostname(), "8080"), r.URL.RequestURI())
	fmt.Fprintf(&b, "\nRequest Headers:\n")
	var headers []string
	for name, values := range r.Header {
		for _, v := range values {
			headers = append(headers, strings.ToLower(name)+"="+v)
		}
	}
	headers = append(headers, "host="+r.Host)
	slices.Sort(headers)
	for _, h := range headers {
		fmt.Fprintf(&b, "\t%s\n", h)
	}
	fmt.Fprintf(&b, "\nRequest Body:\n%s\n\n", cmp.Or(string(body), "\t-no body in request-"))
	w.Header().Set("Content-Type", "text/plain")
	_, _ = io.WriteString(w, b.String())
}
