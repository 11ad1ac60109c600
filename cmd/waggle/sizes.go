package main

import (
	"github.com/spf13/pflag"

	"github.com/waggle-mesh/waggle/internal/datapath"
)

// sizeFlags are the numbers of entries of the data path's maps. Where Cilium
// has a flag of the same meaning, it has that one's name.
func sizeFlags(f *pflag.FlagSet, s *datapath.Sizes) {
	f.Uint32Var(&s.Conntrack, "bpf-ct-max", 262144, "`entries` of the map conntrack, two for each connection; a full map forgets the least recently used")
	f.Uint32Var(&s.Frontends, "bpf-lb-map-max", 65536, "`entries` of the map frontends, one or two for each address and port of a Service; a full map refuses new ones, as do all below but fragments")
	f.Uint32Var(&s.Sets, "bpf-lb-set-max", 65536, "`entries` of the map sets, one or two for each port of a Service and address family")
	f.Uint32Var(&s.Backends, "bpf-lb-backend-max", 262144, "`entries` of the map backends, one for each address in a set")
	f.Uint32Var(&s.Identities, "bpf-ipcache-max", 512000, "`entries` of the map ipcache, one for each address or range in the cluster")
	f.Uint32Var(&s.Endpoints, "bpf-endpoint-max", 4096, "`entries` of the map endpoints, one for each address of a pod of the node")
	f.Uint32Var(&s.Policy, "bpf-policy-map-max", 131072, "`entries` of the map policy, of all pods of the node together")
	f.Uint32Var(&s.Fragments, "bpf-fragments-map-max", 32768, "`entries` of the map fragments, one for each datagram in pieces")
}
