package datapath_test

import (
	"context"
	"fmt"
	"net/netip"
	"testing"

	"github.com/waggle-mesh/waggle/internal/datapath"
	"github.com/waggle-mesh/waggle/internal/model"
)

// stream is a conversation of a's with b, of which either side may speak next.
type stream struct {
	bench
	name           string
	open, ask, say func(t *testing.T) (answer int32, frame []byte, reason uint8)
}

// streams are a's with b and the other node's pod's with b, by TCP and UDP,
// directly and, of a's, by way of a Service.
func (b bench) streams() []stream {
	server := b.at(b.b, 8080)
	packet := func(protocol model.L4Protocol, from, to netip.AddrPort, flags byte) ip {
		if protocol == model.UDP {
			return udp(from, to, []byte("x"))
		}
		return tcp(from, to, flags)
	}
	sends := func(program string, index int, p ip) func(t *testing.T) (int32, []byte, uint8) {
		return func(t *testing.T) (int32, []byte, uint8) { return b.run(t, program, index, p) }
	}
	var all []stream
	for _, protocol := range []model.L4Protocol{model.TCP, model.UDP} {
		for i, way := range []struct {
			name, program string
			index         int
			from          netip.Addr
			to            netip.AddrPort
		}{
			{"a to b", "from_pod", b.a.Index, b.a.Addr(b.family), server},
			{"a to the Service", "from_pod", b.a.Index, b.a.Addr(b.family), b.service},
			{"the other node's pod to b", "from_uplink", b.Nodes[0].Uplink, b.other, server},
			{"the node to b", "to_pod", b.b.Index, b.Client.Addr(b.family), server},
		} {
			from := netip.AddrPortFrom(way.from, 40000+uint16(i))
			all = append(all, stream{
				b, fmt.Sprintf("%s, %s, IPv%d", way.name, protocol, b.family),
				sends(way.program, way.index, packet(protocol, from, way.to, syn)),
				sends(way.program, way.index, packet(protocol, from, way.to, ack)),
				sends("from_pod", b.b.Index, packet(protocol, server, from, ack)),
			})
		}
	}
	return all
}

// What is not allowed any more ends for both sides, whoever speaks next and how
// often, also when its entries are lost; allowed again, it goes on.
func TestRevokedStreams(t *testing.T) {
	l := newLab(t, true)
	for _, b := range l.benches() {
		ctx, verdicts := context.Background(), b.paths[0].Verdicts()
		denial := model.Verdict{Endpoint: endpointOf(b.b, idB).ID, Direction: model.Ingress, Port: 8080, Action: model.Deny}
		for _, s := range b.streams() {
			for _, first := range []string{"the client", "the server"} {
				speak := map[string]func(t *testing.T) (int32, []byte, uint8){"the client": s.ask, "the server": s.say}
				turns := []string{first, "the client", "the server", "the server", "the client", "the server", "the client"}
				says := func(when, who string, dropped bool) {
					t.Helper()
					if answer, _, reason := speak[who](t); (reason != 0) != dropped {
						t.Errorf("%s, %s, %s speaks: answer %d, reason %d, want it dropped: %t", s.name, when, who, answer, reason, dropped)
					}
				}
				for _, loss := range []bool{false, true} {
					s.open(t)
					says("open", "the server", false)
					says("open", "the client", false)
					deny := func() {
						for _, denial.Protocol = range []model.L4Protocol{model.TCP, model.UDP} {
							b.must(verdicts.Update(ctx, denial))
						}
					}
					allow := func() {
						for _, denial.Protocol = range []model.L4Protocol{model.TCP, model.UDP} {
							if err := verdicts.Delete(ctx, denial.Key()); err != nil {
								t.Fatal(err)
							}
						}
					}
					deny()
					when := "denied"
					if loss {
						when = "denied and forgotten"
						if err := b.paths[0].Forget(); err != nil {
							t.Fatal(err)
						}
					}
					for _, who := range turns {
						says(when, who, true)
					}
					allow()
					if !loss {
						says("allowed again", first, false)
						says("allowed again", "the server", false)
						says("allowed again", "the client", false)
					}
				}
			}
		}
	}
}

// A connection whose entries were lost goes on, whoever speaks next, and is as
// revocable as before.
func TestForgottenStreams(t *testing.T) {
	for _, b := range newLab(t, true).benches() {
		ctx, verdicts := context.Background(), b.paths[0].Verdicts()
		enforce := endpointOf(b.b, idB)
		enforce.EnforceIngress = true
		b.must(b.paths[0].Endpoints().Update(ctx, enforce))
		allowed := model.Verdict{Endpoint: enforce.ID, Direction: model.Ingress, Identity: idA, Protocol: model.TCP, Port: 8080, Action: model.Allow}
		ask, say := tcp(b.at(b.a, 40000), b.at(b.b, 8080), ack), tcp(b.at(b.b, 8080), b.at(b.a, 40000), ack)
		for _, next := range []stream{{name: "the client"}, {name: "the server"}} {
			b.must(verdicts.Update(ctx, allowed))
			b.passes(t, "SYN", b.a, tcp(b.at(b.a, 40000), b.at(b.b, 8080), syn))
			if err := b.paths[0].Forget(); err != nil {
				t.Fatal(err)
			}
			if next.name == "the server" {
				b.passes(t, "the server goes on", b.b, say)
			}
			b.passes(t, "the client goes on", b.a, ask)
			b.passes(t, "the server goes on", b.b, say)
			if err := verdicts.Delete(ctx, allowed.Key()); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				b.drop(t, "the server, revoked after "+next.name+" had gone on", 133, b.b, say)
				b.drop(t, "the client, revoked after "+next.name+" had gone on", 133, b.a, ask)
			}
			if err := b.paths[0].Forget(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// What a pod sends from a low port to a high one of nobody who may ask it is
// taken for an answer; from a high one it is a question.
func TestPushedDatagrams(t *testing.T) {
	for _, b := range newLab(t, true).benches() {
		enforce := endpointOf(b.b, idB)
		enforce.EnforceIngress = true
		b.must(b.paths[0].Endpoints().Update(t.Context(), enforce))
		b.drop(t, "an answer to nobody", 133, b.b, udp(b.at(b.b, 53), b.at(b.a, 40000), []byte("x")))
		b.passes(t, "between low ports", b.b, udp(b.at(b.b, 123), b.at(b.a, 123), []byte("x")))
		b.passes(t, "a question", b.b, udp(b.at(b.b, 40000), b.at(b.a, 53), []byte("x")))
		b.passes(t, "its answer", b.a, udp(b.at(b.a, 53), b.at(b.b, 40000), []byte("x")))
	}
}

// A connection under way that a proxy has to judge from now on is ended, so that
// the next one gets to it: both sides learn it at once.
func TestProxiedFromNowOn(t *testing.T) {
	for _, b := range newLab(t, true).benches() {
		b.redirect(t)
		verdict := model.Verdict{
			Endpoint: endpointOf(b.b, idB).ID, Direction: model.Ingress, Identity: idA, Protocol: model.TCP, Port: 8080, Action: model.ToProxy, Listener: "listener",
		}
		client, server := b.at(b.a, 40000), b.at(b.b, 8080)
		b.passes(t, "SYN", b.a, tcp(client, server, syn))
		b.passes(t, "its answer", b.b, tcp(server, client, syn|ack))
		b.must(b.paths[0].Verdicts().Update(t.Context(), verdict))
		for range 2 {
			for _, p := range []ip{tcp(server, client, ack), tcp(client, server, ack)} {
				index, sent := b.a.Index, look(t, p.frame())
				if sent.src == server {
					index = b.b.Index
				}
				answer, frame, reason := b.run(t, "from_pod", index, p)
				if got := look(t, frame); answer != datapath.Redirect || reason != 133 || got.flags != rst || got.src != sent.dst || got.dst != sent.src {
					t.Errorf("IPv%d, %s to %s: answer %d, reason %d: %+v, want RST", b.family, sent.src, sent.dst, answer, reason, got)
				}
			}
		}
		if err := b.paths[0].Verdicts().Delete(t.Context(), verdict.Key()); err != nil {
			t.Fatal(err)
		}
	}
}
