package xds

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestNoAnswerBeforeReady(t *testing.T) {
	scripted(t, func(s *script) {
		s.update("CDS a=1")
		e := s.connect()
		synctest.Wait()
		e.want()
		s.update("CDS b=1")
		s.server.Ready()
		e.askAll("CDS")
		e.want("CDS +a +b")
		e.disconnect()
	})
}

func TestEmptyStateIsAnswered(t *testing.T) {
	scripted(t, func(s *script) {
		s.ready()
		e := s.connect()
		e.askAll("CDS")
		e.wantAck("CDS")
		e.askAll("LDS")
		e.wantAck("LDS") // else Envoy would wait for it for ever
		e.disconnect()
	})
}

func TestTransactionOrder(t *testing.T) {
	scripted(t, func(s *script) {
		e := s.settled()
		e.ask("SDS", "cert")
		e.wantAck("SDS -cert")
		e.ask("ECDS", "lua")
		e.wantAck("ECDS -lua")
		e.askAll("SRDS")
		e.wantAck("SRDS")

		s.update("LDS l2=1", "LDS l", "SRDS host=1", "RDS r=2 uses c2", "SDS cert=1", "ECDS lua=1", "EDS c2=1", "CDS c2=1", "CDS c", "EDS c")
		e.want("CDS +c2")
		e.ask("EDS", "c2")
		e.wantAck("EDS +c2")
		e.want() // the cluster is not warm
		e.ack("CDS +c2")
		e.want("SDS +cert", "ECDS +lua", "RDS +r")
		e.ack("RDS +r")
		e.want()
		e.ack("SDS +cert")
		e.ack("ECDS +lua")
		e.want("SRDS +host", "LDS +l2")
		e.ack("SRDS +host")
		e.want()
		e.ack("LDS +l2")
		e.want("LDS -l")
		e.ack("LDS -l")
		e.want()
		time.Sleep(grace - time.Millisecond)
		e.want()
		time.Sleep(2 * time.Millisecond)
		e.want("CDS -c")
		e.disconnect()
	})
}

func TestLoneChangesGoOutAtOnce(t *testing.T) {
	for typ, name := range map[string]string{"RDS": "r", "EDS": "c", "LDS": "l"} {
		t.Run(typ, func(t *testing.T) {
			scripted(t, func(s *script) {
				e := s.settled()
				before := time.Now()
				s.update(typ + " " + name + "=2")
				e.wantAck(typ + " +" + name)
				if d := time.Since(before); d != 0 {
					t.Errorf("sent after %v of waiting", d)
				}
				e.disconnect()
			})
		})
	}
}

func TestEndpointsOfChangedClusterAreSentAgain(t *testing.T) {
	scripted(t, func(s *script) {
		e := s.settled()
		s.update("CDS c=2")
		e.wantAck("CDS +c", "EDS +c")
		s.update("CDS c=3", "EDS c=2")
		if got := e.got(); !slices.Contains(got, "CDS +c") || got[len(got)-1] != "EDS +c" {
			t.Errorf("sent %q, want the endpoints after the cluster", got)
		}
		e.disconnect()
	})
}

// A new cluster gets endpoints that Envoy has for another one: it waits for them,
// and does not ask.
func TestEndpointsOfNewClusterAreSentAgain(t *testing.T) {
	scripted(t, func(s *script) {
		e := s.settled()
		s.update("CDS new=1 asks c", "RDS r=2 uses new")
		e.want("CDS +new", "EDS +c")
		e.ack("EDS +c")
		e.ack("CDS +new")
		e.wantAck("RDS +r")
		s.update("CDS newer=1 asks c", "EDS c=2")
		if got := e.got(); !slices.Contains(got, "CDS +newer") || got[len(got)-1] != "EDS +c" {
			t.Errorf("sent %q, want the endpoints after the cluster", got)
		}
		e.disconnect()
	})
}

func TestWaitsAreBounded(t *testing.T) {
	scripted(t, func(s *script) {
		e := s.settled()
		s.update("CDS c2=1", "EDS c2=1", "RDS r=2", "LDS l=2")
		e.want("CDS +c2")
		time.Sleep(patience - time.Millisecond)
		e.want()
		time.Sleep(2 * time.Millisecond)
		e.want("RDS +r")
		time.Sleep(patience)
		e.want("LDS +l")
		e.disconnect()
	})
}

// An Envoy in which one cluster never becomes warm acknowledges no cluster at
// all. The first wait is lost, the later ones end when Envoy has the endpoints.
func TestStuckClusterDelaysOnce(t *testing.T) {
	scripted(t, func(s *script) {
		e := s.settled()
		s.update("CDS stuck=1", "EDS stuck=1")
		e.want("CDS +stuck")
		time.Sleep(patience)
		s.update("CDS c2=1", "EDS c2=1", "RDS r=2 uses c2")
		e.want("CDS +c2")
		e.ask("EDS", "c2")
		e.want("EDS +c2")
		e.ack("EDS +c2")
		e.want("RDS +r")
		e.disconnect()
	})
}

func TestUpdatesDuringTransactionAreMerged(t *testing.T) {
	scripted(t, func(s *script) {
		e := s.settled()
		s.update("CDS c2=1", "RDS r=2")
		e.want("CDS +c2")
		s.update("CDS c3=1", "RDS r=3")
		s.update("CDS c3=2", "RDS r=4", "LDS l=2")
		s.update("LDS l=1") // as it was
		e.want()
		e.ack("CDS +c2")
		e.wantAck("RDS +r") // as of the first: c3 is not there yet
		e.wantAck("CDS +c3")
		e.wantAck("RDS +r")
		e.want()
		if got := s.states("RDS", "CDS"); !slices.Equal(got, []string{"CDS c Accepted", "CDS c2 Accepted", "CDS c3 Accepted", "RDS r Accepted"}) {
			t.Errorf("states %q", got)
		}
		e.disconnect()
	})
}

func TestEndpointsPassTransactionUnderWay(t *testing.T) {
	scripted(t, func(s *script) {
		e := s.settled()
		s.update("CDS c2=1", "RDS r=2")
		e.want("CDS +c2")
		s.update("EDS c=2")
		e.want("EDS +c")
		e.disconnect()
	})
}

func TestRouteAskedForDuringTransactionWaitsForItsClusters(t *testing.T) {
	scripted(t, func(s *script) {
		e := s.settled()
		s.update("CDS c2=1", "RDS other=1 uses c2")
		e.want("CDS +c2")
		e.ask("RDS", "other")
		e.want()
		e.ack("CDS +c2")
		e.want("RDS +other")
		e.disconnect()
	})
}

func TestUnknownNamesAreAnsweredAtOnce(t *testing.T) {
	scripted(t, func(s *script) {
		e := s.settled()
		e.ask("EDS", "nobody")
		e.wantAck("EDS -nobody")
		s.update("EDS nobody=1")
		e.want("EDS +nobody")
		e.unsubscribe("EDS", "nobody")
		s.update("EDS nobody=2")
		e.want()
		e.ask("EDS", "nobody")
		e.want("EDS +nobody")
		e.disconnect()
	})
}

func TestClusterThatComesBackWithinGraceIsNotTouched(t *testing.T) {
	scripted(t, func(s *script) {
		e := s.settled()
		s.update("CDS c", "EDS c")
		time.Sleep(grace / 2)
		s.update("CDS c=1", "EDS c=1")
		time.Sleep(2 * grace)
		e.want()
		s.update("CDS c", "EDS c")
		time.Sleep(grace + time.Millisecond)
		e.want("CDS -c")
		e.disconnect()
	})
}

func TestNamedResourcesAreNotTakenFromDrainingListeners(t *testing.T) {
	scripted(t, func(s *script) {
		e := s.settled()
		s.update("LDS l", "RDS r")
		e.wantAck("LDS -l")
		time.Sleep(time.Minute)
		e.want()
		s.update("RDS r=2")
		e.want("RDS +r")
		e.disconnect()
	})
}
