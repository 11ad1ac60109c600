package xds

import (
	"slices"
	"strings"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"

	"github.com/waggle-mesh/waggle/internal/model"
)

// truncated ends a message that Envoy has cut, at 4096 bytes.
const truncated = "...(truncated)"

// answered takes Envoy's answer to a response.
func (st *stream) answered(sub *subscription, req *discovery.DeltaDiscoveryRequest) {
	f, ok := st.flights[req.ResponseNonce]
	if !ok {
		return
	}
	delete(st.flights, req.ResponseNonce)
	_, awaited := st.awaited[req.ResponseNonce]
	delete(st.awaited, req.ResponseNonce)
	if f.typ == model.Cluster {
		st.clustersSilent = false
	}
	switch {
	case req.ErrorDetail == nil:
		st.accepted(sub, f)
	case len(f.resources) > 1:
		st.split(sub, f, req.ErrorDetail.Message, awaited)
	default:
		st.rejected(sub, f, req.ErrorDetail.Message)
	}
}

func (st *stream) accepted(sub *subscription, f flight) {
	current := make(map[string]*resource, len(f.resources))
	for name, r := range f.resources {
		h := sub.held[name]
		if h == nil || r == nil {
			continue // unsubscribed since, or a removal
		}
		h.good = r
		if h.sent == r {
			current[name] = r
			h.rejected = nil
			delete(st.retries, name)
		}
	}
	st.record(f.typ, current, func(_ string, r *resource) answer { return answer{r.hash, model.Accepted, ""} })
}

// rejected takes the rejection of a response with one resource.
func (st *stream) rejected(sub *subscription, f flight, message string) {
	for name, r := range f.resources {
		h := sub.held[name]
		if h == nil || r == nil {
			st.log.Debug("Envoy rejected a removal", "type", f.typ, "name", name, "message", message)
			return
		}
		if h.sent != r {
			return // a newer version is on its way
		}
		if h.rejected == nil || h.rejected.hash != r.hash {
			st.log.Warn("Envoy rejected a resource", "type", f.typ, "name", name, "message", message)
		}
		h.rejected = r
		if _, again := st.retries[name]; f.typ == model.EnvoyListener && !again {
			st.retries[name] = retry{at: time.Now().Add(firstRetry), delay: 2 * firstRetry}
		}
	}
	st.record(f.typ, f.resources, func(_ string, r *resource) answer {
		return answer{r.hash, model.Rejected, plain(message)}
	})
}

// maxMessage is where the message of an outcome is cut, in bytes.
const maxMessage = 1 << 10

// plain makes Envoy's message fit a line: without the dump of the whole
// resource that comes before a violated constraint, white space collapsed.
func plain(message string) string {
	if i := strings.LastIndex(message, "Proto constraint validation failed"); i > 0 {
		message = message[i:]
	}
	message = strings.Join(strings.Fields(message), " ")
	if len(message) > maxMessage {
		message = strings.ToValidUTF8(message[:maxMessage], "") + "…"
	}
	return message
}

// split sends a rejected response again in parts, so that every resource gets
// an answer of its own: those that the message may speak of alone, the others
// together. Envoy has taken those others, but only an answer without error
// makes it remember their versions.
func (st *stream) split(sub *subscription, f flight, message string, awaited bool) {
	var suspects, others []string
	for name, r := range f.resources {
		if h := sub.held[name]; r == nil || h == nil || h.sent != r {
			continue // a removal, or superseded
		}
		if strings.Contains(message, name) && !strings.HasSuffix(message, truncated) {
			suspects = append(suspects, name)
		} else {
			others = append(others, name)
		}
	}
	if len(suspects) == 0 {
		suspects, others = others, nil
	}
	slices.Sort(suspects)
	slices.Sort(others)
	again := func() {
		b := batch{st: st, typ: f.typ}
		for _, name := range others {
			b.add(name, f.resources[name])
		}
		b.flush()
		for _, name := range suspects {
			b.add(name, f.resources[name])
			b.flush()
		}
	}
	if awaited {
		again()
	} else {
		st.aside(again)
	}
}
