package xds

import (
	"sync"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
)

// inbox holds requests that have come and are not looked at. It keeps the
// stream readable while a send waits: two ends that both send first would
// wait for each other. It holds at most what Envoy has to answer.
type inbox struct {
	bell chan struct{} // rung when there is something

	mu       sync.Mutex
	requests []*discovery.DeltaDiscoveryRequest
	err      error // that ended the stream
}

// fill reads conn to its end.
func (in *inbox) fill(conn discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) {
	for {
		req, err := conn.Recv()
		in.mu.Lock()
		if err != nil {
			in.err = err
		} else {
			in.requests = append(in.requests, req)
		}
		in.mu.Unlock()
		select {
		case in.bell <- struct{}{}:
		default:
		}
		if err != nil {
			return
		}
	}
}

// take empties the inbox. The error comes with the last requests.
func (in *inbox) take() ([]*discovery.DeltaDiscoveryRequest, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	requests := in.requests
	in.requests = nil
	return requests, in.err
}
