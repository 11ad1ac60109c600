package xds

import (
	"slices"
	"testing"
	"time"

	"testing/synctest"
)

func TestReconnectSendsNothingThatEnvoyHas(t *testing.T) {
	scripted(t, func(s *script) {
		s.settled().disconnect()
		e := s.connect()
		e.askAll("CDS", "c=1")
		e.ask("EDS", "c=1")
		e.askAll("LDS", "l=1")
		e.ask("RDS", "r=1 uses c")
		time.Sleep(time.Minute)
		e.want()
		if got := s.states("CDS", "EDS", "RDS", "LDS"); !slices.Equal(got, []string{"CDS c Accepted", "EDS c Accepted", "RDS r Accepted", "LDS l Accepted"}) {
			t.Errorf("states %q", got)
		}
		e.disconnect()
	})
}

// What changed while nobody was connected is brought in order, too.
func TestReconnectAfterChange(t *testing.T) {
	scripted(t, func(s *script) {
		s.ready("CDS c=2", "EDS c=1", "CDS c2=1", "EDS c2=1", "RDS r=2 uses c2", "LDS l=1")
		e := s.connect()
		e.askAll("CDS", "c=1", "old=1")
		e.want("CDS +c +c2")
		e.ask("EDS", "c=1", "old=1")
		e.want("EDS +c") // the new instance of c waits for it
		e.askAll("LDS", "l=1", "lold=1")
		e.ask("RDS", "r=1")
		e.want()
		e.ack("EDS +c")
		e.ack("CDS +c +c2")
		e.wantAck("RDS +r")
		e.wantAck("LDS -lold")
		time.Sleep(grace)
		e.want("CDS -old")
		e.disconnect()
	})
}

func TestSlowEnvoyDelaysNobody(t *testing.T) {
	scripted(t, func(s *script) {
		s.ready("CDS c=1", "RDS r=1", "LDS l=1")
		slow := s.connect()
		slow.stall = make(chan struct{})
		slow.askAll("CDS")
		e := s.connect()
		e.askAll("CDS")
		e.wantAck("CDS +c")
		e.ask("RDS", "r")
		e.wantAck("RDS +r")
		for _, content := range []string{"2", "3", "4"} {
			s.update("RDS r="+content, "CDS c="+content)
			e.wantAck("CDS +c")
			e.wantAck("RDS +r")
		}
		if got := s.states("CDS"); !slices.Equal(got, []string{"CDS c Pending"}) {
			t.Errorf("states %q: the slow Envoy has not answered", got)
		}
		close(slow.stall)
		synctest.Wait()
		slow.wantAck("CDS +c") // as it was when Envoy stalled
		slow.wantAck("CDS +c") // the newest, and nothing between
		slow.want()
		if got := s.states("CDS"); !slices.Equal(got, []string{"CDS c Accepted"}) {
			t.Errorf("states %q", got)
		}
		slow.disconnect()
		e.disconnect()
	})
}

func TestOutcomesAreBatchedAndToldOnce(t *testing.T) {
	scripted(t, func(s *script) {
		e := s.settled()
		want := []string{"CDS c Accepted [Test 1] ; EDS c Accepted [Test 1] ", "LDS l Accepted [Test 1] ; RDS r Accepted [Test 1 uses c] "}
		if got := s.outcomes(); !slices.Equal(got, want) {
			t.Errorf("outcomes\n%q, want\n%q", got, want)
		}
		s.update("RDS r=2", "LDS l=2")
		e.want("RDS +r")
		e.nack("RDS +r", "no")
		e.want("LDS +l")
		time.Sleep(tellDelay)
		if got := s.outcomes(); !slices.Equal(got, []string{"LDS l Pending [Test 2] ; RDS r Rejected [Test 2] no"}) {
			t.Errorf("outcomes %q", got)
		}
		e.ack("LDS +l")
		s.update("RDS r=3")
		e.wantAck("RDS +r")
		s.update("RDS r=4")
		e.wantAck("RDS +r")
		if got := s.outcomes(); !slices.Equal(got, []string{"LDS l Accepted [Test 2] ", "RDS r Accepted [Test 4] "}) {
			t.Errorf("outcomes %q", got)
		}
		s.update("RDS r")
		time.Sleep(time.Minute)
		if got := s.outcomes(); len(got) != 0 {
			t.Errorf("outcomes %q of what is gone or unchanged", got)
		}
		e.disconnect()
	})
}

// While there is no Envoy nothing is served, and what was accepted is again
// when an Envoy says that it has it. A rejection stands.
func TestOutcomesWithoutEnvoy(t *testing.T) {
	scripted(t, func(s *script) {
		e := s.settled()
		s.update("RDS r=2")
		e.want("RDS +r")
		e.nack("RDS +r", "no")
		time.Sleep(tellDelay)
		s.outcomes()
		e.disconnect()
		time.Sleep(tellDelay)
		want := []string{"CDS c Pending [Test 1] ; EDS c Pending [Test 1] ; LDS l Pending [Test 1] "}
		if got := s.outcomes(); !slices.Equal(got, want) {
			t.Errorf("Envoy has gone: %q", got)
		}
		e = s.connect()
		e.askAll("CDS", "c=1")
		e.ask("EDS", "c=1")
		e.askAll("LDS", "l=1")
		time.Sleep(tellDelay)
		want = []string{"CDS c Accepted [Test 1] ", "EDS c Accepted [Test 1] ; LDS l Accepted [Test 1] "}
		if got := s.outcomes(); !slices.Equal(got, want) {
			t.Errorf("Envoy has come back: %q", got)
		}
		e.ask("RDS", "r")
		e.wantAck("RDS +r")
		time.Sleep(tellDelay)
		if got := s.outcomes(); !slices.Equal(got, []string{"RDS r Accepted [Test 2] "}) {
			t.Errorf("Envoy has taken it: %q", got)
		}
		e.disconnect()
	})
}

// An Envoy that does not look into a collection is not waited for.
func TestOutcomeOfCollectionThatOneEnvoyWants(t *testing.T) {
	scripted(t, func(s *script) {
		s.ready("SRDS xdstp://a/t/table/x=1")
		a, b := s.connect(), s.connect()
		a.subscribe("SRDS", []string{"xdstp://a/t/table/*"}, nil)
		b.subscribe("SRDS", []string{"xdstp://a/t/other/*"}, nil)
		a.wantAck("SRDS +xdstp://a/t/table/x")
		b.got()
		if got := s.states("SRDS"); !slices.Equal(got, []string{"SRDS xdstp://a/t/table/x Accepted"}) {
			t.Errorf("states %q", got)
		}
		b.subscribe("SRDS", []string{"xdstp://a/t/table/*"}, nil)
		if got := s.states("SRDS"); !slices.Equal(got, []string{"SRDS xdstp://a/t/table/x Pending"}) {
			t.Errorf("the other wants it too: %q", got)
		}
		b.wantAck("SRDS +xdstp://a/t/table/x")
		a.disconnect()
		b.disconnect()
	})
}

// Two Envoys: the worst of what they say counts, and only of those that live.
func TestOutcomeOfTwoEnvoys(t *testing.T) {
	scripted(t, func(s *script) {
		a := s.settled()
		b := s.connect()
		b.askAll("CDS", "c=1")
		b.ask("RDS", "r=1 uses c")
		s.update("RDS r=2")
		a.wantAck("RDS +r")
		if got := s.states("RDS"); !slices.Equal(got, []string{"RDS r Pending"}) {
			t.Errorf("one has answered: %q", got)
		}
		b.want("RDS +r")
		b.nack("RDS +r", "no")
		if got := s.states("RDS"); !slices.Equal(got, []string{"RDS r Rejected no"}) {
			t.Errorf("one has rejected: %q", got)
		}
		s.update("RDS r=3")
		a.wantAck("RDS +r")
		b.want("RDS +r") // and waits for its answer
		s.update("CDS c2=1")
		a.wantAck("CDS +c2")
		if got := s.states("CDS"); !slices.Equal(got, []string{"CDS c Accepted", "CDS c2 Pending"}) {
			t.Errorf("one has a new cluster: %q", got)
		}
		b.disconnect()
		if got := s.states("RDS", "CDS"); !slices.Equal(got, []string{"CDS c Accepted", "CDS c2 Accepted", "RDS r Accepted"}) {
			t.Errorf("the other has gone: %q", got)
		}
		a.disconnect()
	})
}
