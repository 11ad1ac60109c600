package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/waggle-mesh/waggle/test/bench/envoyfile"
)

// served is what the Gateway's Envoy has for one route, by its own account.
type served struct {
	listener *listenerv3.Listener
	routes   *routev3.RouteConfiguration
	cluster  *clusterv3.Cluster
}

// readServed reads Envoy's configuration.
func (s *site) readServed() (out served, err error) {
	text, err := s.Admin().Ask(s.ctx, "config", "")
	if err != nil {
		return out, err
	}
	return parseServed(text)
}

func parseServed(text []byte) (out served, err error) {
	var dump struct{ Configs []json.RawMessage }
	if err := json.Unmarshal(text, &dump); err != nil {
		return out, fmt.Errorf("read Envoy's configuration: %w", err)
	}
	read := protojson.UnmarshalOptions{DiscardUnknown: true}
	for _, one := range dump.Configs {
		var packed anypb.Any
		if err := read.Unmarshal(one, &packed); err != nil {
			return out, fmt.Errorf("read Envoy's configuration: %w", err)
		}
		m, err := packed.UnmarshalNew()
		if err != nil {
			return out, err
		}
		if err := out.take(m); err != nil {
			return out, err
		}
	}
	if out.listener == nil || out.routes == nil || out.cluster == nil {
		return out, errors.New("the Gateway is not served by Envoy")
	}
	return out, nil
}

// take takes the newest of what a part of the configuration has.
func (s *served) take(part proto.Message) error {
	into := func(packed *anypb.Any, m proto.Message) error {
		if packed == nil {
			return nil
		}
		return packed.UnmarshalTo(m)
	}
	switch part := part.(type) {
	case *adminv3.ListenersConfigDump:
		for _, l := range part.DynamicListeners {
			s.listener = &listenerv3.Listener{}
			if err := into(l.GetActiveState().GetListener(), s.listener); err != nil {
				return err
			}
		}
	case *adminv3.RoutesConfigDump:
		for _, r := range part.DynamicRouteConfigs {
			s.routes = &routev3.RouteConfiguration{}
			if err := into(r.RouteConfig, s.routes); err != nil {
				return err
			}
		}
	case *adminv3.ClustersConfigDump:
		for _, c := range part.DynamicActiveClusters {
			s.cluster = &clusterv3.Cluster{}
			if err := into(c.Cluster, s.cluster); err != nil {
				return err
			}
		}
	}
	return nil
}

// static is the file of an Envoy at a host port, which has all that the
// Gateway's has but what leads connections to it and marks those that it makes.
func (s served) static(at, backend netip.AddrPort) func(dir string) []byte {
	l, c := proto.Clone(s.listener).(*listenerv3.Listener), proto.Clone(s.cluster).(*clusterv3.Cluster)
	l.Address, l.AdditionalAddresses = envoyfile.Address(at), nil
	l.Transparent, l.SocketOptions = nil, nil
	envoyfile.SetRoutes(l, s.routes)
	c.UpstreamBindConfig = nil
	envoyfile.SetBackend(c, backend)
	return func(dir string) []byte {
		return envoyfile.Write(dir, []*listenerv3.Listener{l}, []*clusterv3.Cluster{c})
	}
}
