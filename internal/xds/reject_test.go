package xds

import (
	"slices"
	"testing"
	"time"
)

func TestRejectionHoldsUpNobody(t *testing.T) {
	scripted(t, func(s *script) {
		e := s.settled()
		e.ask("RDS", "r2")
		e.wantAck("RDS -r2")
		s.update("RDS r=2", "RDS r2=1", "LDS l2=1")
		e.want("RDS +r", "RDS +r2")
		e.nack("RDS +r", "missing ): (\n")
		e.ack("RDS +r2")
		e.wantAck("LDS +l2")
		want := []string{"RDS r Rejected missing ): (", "RDS r2 Accepted", "LDS l Accepted", "LDS l2 Accepted"}
		if got := s.states("RDS", "LDS"); !slices.Equal(got, want) {
			t.Errorf("states %q, want %q", got, want)
		}
		time.Sleep(time.Hour)
		e.want() // not sent again before it changes
		s.update("RDS r=3")
		e.wantAck("RDS +r")
		e.disconnect()
	})
}

func TestRejectedBatchIsSplit(t *testing.T) {
	scripted(t, func(s *script) {
		s.ready("CDS a=1", "CDS ab=1", "CDS b=1", "CDS bad=1")
		e := s.connect()
		e.askAll("CDS")
		e.want("CDS +a +ab +b +bad")
		e.nack("CDS +a +ab +b +bad", "Error adding/updating cluster(s) bad: Missing config source")
		// "a" and "b" occur in the message.
		e.want("CDS +ab", "CDS +a", "CDS +b", "CDS +bad")
		for _, good := range []string{"CDS +ab", "CDS +a", "CDS +b"} {
			e.ack(good)
		}
		e.nack("CDS +bad", "Error adding/updating cluster(s) bad: Missing config source")
		want := []string{"CDS a Accepted", "CDS ab Accepted", "CDS b Accepted", "CDS bad Rejected Error adding/updating cluster(s) bad: Missing config source"}
		if got := s.states("CDS"); !slices.Equal(got, want) {
			t.Errorf("states %q, want %q", got, want)
		}
		e.want()
		e.disconnect()
	})
}

func TestRejectedBatchWithCutMessageIsSplitWhole(t *testing.T) {
	scripted(t, func(s *script) {
		s.ready("LDS l1=1", "LDS l2=1")
		e := s.connect()
		e.askAll("LDS")
		e.want("LDS +l1 +l2")
		e.nack("LDS +l1 +l2", "Error adding/updating listener(s) l1: "+truncated)
		e.want("LDS +l1", "LDS +l2")
		e.disconnect()
	})
}

func TestRejectedListenerIsTriedAgain(t *testing.T) {
	scripted(t, func(s *script) {
		e := s.settled()
		s.update("LDS l2=1")
		e.want("LDS +l2")
		e.nack("LDS +l2", "cannot bind")
		for _, after := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
			time.Sleep(after*time.Second - time.Millisecond)
			e.want()
			time.Sleep(time.Millisecond)
			e.want("LDS +l2")
			e.nack("LDS +l2", "cannot bind")
		}
		if got := s.states("LDS"); !slices.Equal(got, []string{"LDS l Accepted", "LDS l2 Rejected cannot bind"}) {
			t.Errorf("states %q", got)
		}
		time.Sleep(lastRetry)
		e.wantAck("LDS +l2")
		time.Sleep(time.Hour)
		e.want()
		e.disconnect()
	})
}

func TestListenerWhosePortBecomesFreeIsTriedAtOnce(t *testing.T) {
	scripted(t, func(s *script) {
		e := s.settled()
		s.update("LDS l", "LDS renamed=1")
		e.want("LDS +renamed")
		e.nack("LDS +renamed", "has duplicate address")
		e.want("LDS -l")
		e.ack("LDS -l")
		e.wantAck("LDS +renamed")
		e.disconnect()
	})
}

// Envoy goes on with the last good version of what it rejects, so what that
// refers to must stay.
func TestClusterOfLastGoodRouteStays(t *testing.T) {
	scripted(t, func(s *script) {
		e := s.settled()
		s.update("RDS r=2 uses c2", "CDS c2=1", "EDS c2=1", "CDS c", "EDS c", "CDS spare=1")
		e.wantAck("CDS +c2 +spare")
		e.want("RDS +r")
		e.nack("RDS +r", "no")
		s.update("CDS spare")
		time.Sleep(time.Minute)
		e.want("CDS -spare")
		s.update("RDS r=3 uses c2")
		e.wantAck("RDS +r")
		time.Sleep(2 * grace)
		e.want("CDS -c")
		e.disconnect()
	})
}

func TestSupersededRejectionIsNotReported(t *testing.T) {
	scripted(t, func(s *script) {
		e := s.settled()
		s.update("LDS l=2")
		e.want("LDS +l")
		time.Sleep(patience)
		s.update("LDS l=3")
		first := e.nonces["LDS +l"]
		e.want("LDS +l")
		second := e.nonces["LDS +l"]
		e.nonces["first"], e.nonces["second"] = first, second
		e.nack("first", "old")
		e.ack("second")
		if got := s.states("LDS"); !slices.Equal(got, []string{"LDS l Accepted"}) {
			t.Errorf("states %q", got)
		}
		time.Sleep(time.Hour)
		e.want()
		e.disconnect()
	})
}
