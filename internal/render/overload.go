package render

import (
	"time"

	overloadv3 "github.com/envoyproxy/go-control-plane/envoy/config/overload/v3"
	connectionsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/resource_monitors/downstream_connections/v3"
	heapv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/resource_monitors/fixed_heap/v3"
	"google.golang.org/protobuf/proto"
)

const (
	connectionsMonitor = "envoy.resource_monitors.global_downstream_max_connections"
	heapMonitor        = "envoy.resource_monitors.fixed_heap"
)

// overload is what Envoy does before it runs out of memory: give memory
// back, end the streams that hold most, refuse requests, refuse connections.
func overload(o BootstrapOptions) *overloadv3.OverloadManager {
	connections := o.Connections
	if connections == 0 {
		connections = 50_000
	}
	m := &overloadv3.OverloadManager{
		RefreshInterval: duration(250 * time.Millisecond),
		ResourceMonitors: []*overloadv3.ResourceMonitor{
			monitor(connectionsMonitor, &connectionsv3.DownstreamConnectionsConfig{MaxActiveDownstreamConnections: connections}),
		},
	}
	if o.HeapBytes == 0 {
		return m
	}
	m.BufferFactoryConfig = &overloadv3.BufferFactoryConfig{MinimumAccountToTrackPowerOfTwo: 20}
	m.ResourceMonitors = append(m.ResourceMonitors, monitor(heapMonitor, &heapv3.FixedHeapConfig{MaxHeapSizeBytes: o.HeapBytes}))
	m.Actions = []*overloadv3.OverloadAction{
		above("envoy.overload_actions.shrink_heap", 0.92),
		between("envoy.overload_actions.reset_high_memory_stream", 0.93, 0.98),
		above("envoy.overload_actions.stop_accepting_requests", 0.95),
		above("envoy.overload_actions.stop_accepting_connections", 0.98),
	}
	return m
}

func monitor(name string, config proto.Message) *overloadv3.ResourceMonitor {
	return &overloadv3.ResourceMonitor{Name: name, ConfigType: &overloadv3.ResourceMonitor_TypedConfig{TypedConfig: packed(config)}}
}

func above(action string, threshold float64) *overloadv3.OverloadAction {
	return onHeap(action, &overloadv3.Trigger{TriggerOneof: &overloadv3.Trigger_Threshold{
		Threshold: &overloadv3.ThresholdTrigger{Value: threshold},
	}})
}

func between(action string, from, to float64) *overloadv3.OverloadAction {
	return onHeap(action, &overloadv3.Trigger{TriggerOneof: &overloadv3.Trigger_Scaled{
		Scaled: &overloadv3.ScaledTrigger{ScalingThreshold: from, SaturationThreshold: to},
	}})
}

func onHeap(action string, trigger *overloadv3.Trigger) *overloadv3.OverloadAction {
	trigger.Name = heapMonitor
	return &overloadv3.OverloadAction{Name: action, Triggers: []*overloadv3.Trigger{trigger}}
}
