package standalone

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/waggle-mesh/waggle/internal/model"
)

// pool is a loopback under test.
type pool struct {
	*loopback
	t   *testing.T
	dir string
}

func newPool(t *testing.T, dir string) *pool {
	t.Helper()
	l, err := newLoopback(dir, netip.Addr{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	return &pool{l, t, dir}
}

// has asks for an address for a Gateway and checks which it is.
func (p *pool) has(name, wanted, address string) {
	p.t.Helper()
	got, err := p.Update(context.Background(), request{model.Name{Name: name}, wanted})
	if err != nil || len(got.Addresses) != 1 || got.Addresses[0].String() != address {
		p.t.Errorf("%s has %v (%v, %s), want %s", name, got.Addresses, err, got.Problem.Message, address)
	}
}

func (p *pool) gone(name string) {
	p.t.Helper()
	if err := p.Delete(context.Background(), name); err != nil {
		p.t.Error(err)
	}
}

// TestAddressesAreKept: by a Gateway while it lives, and over processes, be
// the last line of the file half written.
func TestAddressesAreKept(t *testing.T) {
	p := newPool(t, t.TempDir())
	p.has("a", "", "127.0.0.1")
	p.has("b", "", "127.0.0.2")
	p.has("c", "127.0.0.3", "127.0.0.3")
	p.has("d", "", "127.0.0.4")
	p.gone("b")
	p.gone("a")
	p.has("e", "", "127.0.0.1")
	p.close()
	f, err := os.OpenFile(filepath.Join(p.dir, "addresses.json"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString(`{"gateway":"x","addr`)
	f.Close()

	p = newPool(t, p.dir)
	p.has("f", "", "127.0.0.2")
	p.has("e", "", "127.0.0.1")
	p.has("d", "", "127.0.0.4")
	p.close()

	p = newPool(t, p.dir)
	if err := p.Prune(context.Background(), []string{"d", "f"}); err != nil {
		t.Error(err)
	}
	p.has("g", "", "127.0.0.1")
	p.has("f", "", "127.0.0.2")
	p.has("d", "", "127.0.0.4")
}

// TestManyAddresses: what an address costs does not grow with their number,
// nor the file with the number of changes.
func TestManyAddresses(t *testing.T) {
	p := newPool(t, t.TempDir())
	const n = 3000
	for i := range n {
		p.has(fmt.Sprint(i), "", netip.AddrFrom4([4]byte{127, 0, byte((i + 1) >> 8), byte(i + 1)}).String())
	}
	cost := func() float64 {
		return testing.AllocsPerRun(100, func() {
			p.gone("7")
			p.has("7", "", "127.0.0.8")
		})
	}
	if many := cost(); many > 100 {
		t.Errorf("%v allocations for an address among %d", many, n)
	}
	for range 10 * n {
		p.gone("7")
		p.has("7", "", "127.0.0.8")
	}
	if info, err := os.Stat(p.path); err != nil || info.Size() > 4*n*64 {
		t.Errorf("the file: %v, %v", info.Size(), err)
	}
}
