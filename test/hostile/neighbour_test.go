package hostile

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/waggle-mesh/waggle/internal/agent"
	"github.com/waggle-mesh/waggle/internal/standalone"
)

// TestNeighbour adds every hostile manifest to a running mesh, one by one,
// takes them away again, then adds and removes them all at once. All the
// while the neighbour answers every request.
func TestNeighbour(t *testing.T) {
	for _, tables := range []agent.RouteTables{agent.Plain, agent.Scoped} {
		t.Run(string(tables), func(t *testing.T) { testNeighbour(t, tables) })
	}
}

func testNeighbour(t *testing.T, tables agent.RouteTables) {
	m := startMesh(t, tables)
	occupy(t, fmt.Sprintf("%s2:%d", m.network, m.offset+4321))
	pid := 0
	m.eventually("Envoy is said to run", func() error { // which is a moment after it answers
		if pid = m.status().Envoy.PID; pid == 0 {
			return errors.New("no process")
		}
		return nil
	})
	visits := m.visit()
	cases := readCases(t)

	for _, c := range cases {
		m.write("cases/"+c.name, c.text)
		visits.another()
	}
	m.settled(cases)
	for _, c := range cases {
		m.remove("cases/" + c.name)
		visits.another()
	}
	m.settled(nil)
	for _, c := range cases {
		m.write("cases/"+c.name, c.text)
	}
	m.settled(cases)
	m.remove("cases")
	m.settled(nil)

	visits.end()
	if s := m.status(); s.Envoy.PID != pid || s.Envoy.Restarts != 0 {
		t.Errorf("Envoy died: %+v", s.Envoy)
	}
}

// occupy holds a port.
func occupy(t *testing.T, address string) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
}

// settled waits until of every file just that is said which is wanted: of the
// given cases, of the neighbour and, where there is no case, of the mesh. It
// fails the test if Envoy rejected anything but listeners whose address is
// taken.
func (m *mesh) settled(cases []hostileCase) {
	m.t.Helper()
	var last *standalone.Status
	m.eventually("everything is said", func() error {
		last = m.status()
		said := m.said(last)
		for _, c := range cases {
			if d := compare(append(c.wants, c.running...), said["cases/"+c.name]); d != nil {
				return fmt.Errorf("%s: %s", c.name, d[0])
			}
			delete(said, "cases/"+c.name)
		}
		for name, rest := range said {
			if d := compare(nil, rest); d != nil {
				return fmt.Errorf("%s: %s", name, d[0])
			}
		}
		return nil
	})
	for _, r := range last.Rejected {
		taken := strings.Contains(r.Message, "cannot bind")
		if !strings.HasPrefix(r.Name, "hostile|addresses-") || !taken {
			m.t.Errorf("Envoy rejected %s %s: %s", r.Type, r.Name, r.Message)
		}
	}
}

// visits are clients who ask the neighbour for something all the time.
type visits struct {
	m      *mesh
	rounds atomic.Int64
	over   atomic.Bool
	failed atomic.Int64
	group  sync.WaitGroup
}

// visit sends clients, one that keeps its connections and one that opens a
// new one each time.
func (m *mesh) visit() *visits {
	v := &visits{m: m}
	for _, keep := range []bool{true, false} {
		c := newClient(m, keep)
		v.group.Go(func() {
			for !v.over.Load() {
				for _, u := range m.neighbours() {
					if err := c.get(u); err != nil && v.failed.Add(1) < 10 {
						m.t.Errorf("the neighbour: %v", err)
					}
				}
				v.rounds.Add(1)
			}
		})
	}
	m.t.Cleanup(v.end)
	return v
}

// another waits until the neighbour has been visited once more.
func (v *visits) another() {
	v.m.t.Helper()
	now := v.rounds.Load()
	v.m.eventually("the neighbour is visited", func() error {
		if v.rounds.Load() < now+1 {
			return fmt.Errorf("%d rounds", now)
		}
		return nil
	})
}

func (v *visits) end() {
	if !v.over.Swap(true) {
		v.group.Wait()
		v.m.t.Logf("%d rounds, %d failed", v.rounds.Load(), v.failed.Load())
	}
}
