package xds

import (
	"testing"
)

// TestCollections: a subscription to a collection follows what is in it, and
// nothing else.
func TestCollections(t *testing.T) {
	scripted(t, func(s *script) {
		s.ready("SRDS xdstp://x/t/one/a=1", "SRDS xdstp://x/t/other/a=1", "SRDS xdstp://x/t/one/more/a=1")
		e := s.connect()
		e.ask("SRDS", "xdstp://x/t/one/*")
		e.wantAck("SRDS +xdstp://x/t/one/a")
		s.update("SRDS xdstp://x/t/one/b=1", "SRDS xdstp://x/t/other/b=1")
		e.wantAck("SRDS +xdstp://x/t/one/b")
		s.update("SRDS xdstp://x/t/one/a=2", "SRDS xdstp://x/t/one/b")
		e.wantAck("SRDS +xdstp://x/t/one/a")
		e.wantAck("SRDS -xdstp://x/t/one/b")

		e.ask("SRDS", "xdstp://x/t/none/*")
		e.wantAck("SRDS -xdstp://x/t/none/*")
		s.update("SRDS xdstp://x/t/none/a=1")
		e.wantAck("SRDS +xdstp://x/t/none/a")

		e.unsubscribe("SRDS", "xdstp://x/t/one/*")
		s.update("SRDS xdstp://x/t/one/a=3", "SRDS xdstp://x/t/none/a=2")
		e.wantAck("SRDS +xdstp://x/t/none/a")
		e.ask("SRDS", "xdstp://x/t/one/*")
		e.wantAck("SRDS +xdstp://x/t/one/a")
		e.want()
		e.disconnect()
	})
}

// TestCollectionGoes: connections that are being drained go on looking into a
// collection that is no more. What is gone of it is removed when it comes back
// without.
func TestCollectionGoes(t *testing.T) {
	scripted(t, func(s *script) {
		s.ready("SRDS xdstp://x/t/one/a=1", "SRDS xdstp://x/t/one/b=1")
		e := s.connect()
		e.ask("SRDS", "xdstp://x/t/one/*")
		e.wantAck("SRDS +xdstp://x/t/one/a +xdstp://x/t/one/b")
		s.update("SRDS xdstp://x/t/one/a", "SRDS xdstp://x/t/one/b")
		e.want()
		s.update("SRDS xdstp://x/t/one/c=1")
		e.wantAck("SRDS +xdstp://x/t/one/c")
		e.wantAck("SRDS -xdstp://x/t/one/a -xdstp://x/t/one/b")
		s.update("SRDS xdstp://x/t/one/c")
		e.unsubscribe("SRDS", "xdstp://x/t/one/*")
		e.want()
		e.disconnect()
	})
}

// TestCollectionsAfterReconnect: Envoy says what it has of a collection and is
// told what it lacks, and what is gone.
func TestCollectionsAfterReconnect(t *testing.T) {
	scripted(t, func(s *script) {
		s.ready("SRDS xdstp://x/t/one/a=1", "SRDS xdstp://x/t/one/b=2")
		e := s.connect()
		req := []string{"xdstp://x/t/one/a=1", "xdstp://x/t/one/b=1", "xdstp://x/t/one/c=1"}
		e.subscribe("SRDS", []string{"xdstp://x/t/one/*"}, req)
		e.wantAck("SRDS +xdstp://x/t/one/b")
		e.wantAck("SRDS -xdstp://x/t/one/c")
		e.want()
		if got := s.states("SRDS"); len(got) != 2 || got[0] != "SRDS xdstp://x/t/one/a Accepted" {
			t.Errorf("states %q", got)
		}
		e.disconnect()
	})
}
