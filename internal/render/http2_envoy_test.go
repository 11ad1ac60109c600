package render_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/waggle-mesh/waggle/internal/model"
)

// http2 sends one request with exactly these header fields, names and values
// in turn, and gives the status, or "reset" where there was no answer.
func (g *gateway) http2(fields ...string) string {
	g.t.Helper()
	connection, err := g.dial(context.Background(), "", "")
	if err != nil {
		g.t.Fatal(err)
	}
	defer connection.Close()
	connection.SetDeadline(time.Now().Add(10 * time.Second))
	framer := http2.NewFramer(connection, connection)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for i := 0; i < len(fields); i += 2 {
		encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	io.WriteString(connection, http2.ClientPreface)
	framer.WriteSettings()
	framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true})
	for {
		frame, err := framer.ReadFrame()
		if errors.Is(err, io.EOF) {
			return "reset"
		}
		if err != nil {
			g.t.Fatalf("%q: %v", fields, err)
		}
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			return frame.PseudoValue("status")
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return "reset"
		}
	}
}

func TestHTTP2(t *testing.T) {
	inBothModes(t, func(t *testing.T, g *gateway) {
		b, any := echo(t, "b"), echo(t, "any")
		g.serve([]model.VirtualHost{
			host("a.example.com", under("/a", to(b))),
			host("*", under("/any", to(any))),
		}, b, any)
		for _, c := range []struct{ authority, path, sees, status string }{
			{"a.example.com", "/a", "a.example.com", "200"},
			{"A.example.com.:81", "/a", "A.example.com.:81", "200"},
			{"b.example.com", "/any", "b.example.com", "200"},
			{"a.example.com", "/any", "", "404"},
		} {
			status := g.http2(":method", "GET", ":scheme", "http", ":path", c.path, ":authority", c.authority)
			if status != c.status {
				t.Errorf("%s%s: %s, want %s", c.authority, c.path, status, c.status)
			}
			if c.sees == "" {
				continue
			}
			from := b
			if c.path == "/any" {
				from = any
			}
			if got := <-from.seen; got.Host != c.sees {
				t.Errorf("%s: the backend saw Host %s", c.authority, got.Host)
			}
		}
		if status := g.http2(":method", "GET", ":scheme", "http", ":path", "/a", "host", "A.example.com"); status != "200" {
			t.Errorf("Host in place of :authority: %s", status)
		}
		if status := g.http2(":method", "GET", ":scheme", "http", ":path", "/any"); status != "reset" {
			t.Errorf("neither Host nor :authority: %s", status)
		}
		if status := g.http2(":method", "GET", ":scheme", "http", ":path", "/any", ":authority", "|"); status == "200" {
			t.Errorf("a host that is none: %s", status)
		}
	})
}
