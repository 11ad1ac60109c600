// Package datapath owns the BPF programs of a node: it loads them, keeps their
// maps like the rows of the agent's tables, and tells what they saw.
//
//	Open ──▶ maps and programs, new or taken over from <bpffs>/waggle
//	  │        uplink and cgroup hooks attached, AttachPod for each pod
//	  ├────▶ Frontends, BackendSets, Identities, Endpoints, Verdicts
//	  │        (reconcile.Output, one per kind of row)
//	  └────▶ rows of maps for commands, counters, events
//
// Programs and maps live as pins: they go on working while the agent is away,
// and a new agent replaces the programs under running connections. Maps whose
// layout changed are filled beside the old ones before the programs change
// over. Cleanup removes every trace.
//
// It is the only importer of cilium/ebpf. It makes no devices, routes or
// sysctls (link does), and knows nothing of Kubernetes.
package datapath

//go:generate go tool bpf2go -cc clang-14 -strip llvm-strip-14 -target bpfel -tags linux -type event -type event_type -type hook -type drop -type scope -type frontend_flags -type backend_flags -type connected_socket -type setting -type conn_table -type conn_flags -type ipcache_flags -type action -cflags "-mcpu=v3 -Wall -Werror -I/usr/include/x86_64-linux-gnu -I/usr/include/aarch64-linux-gnu" node bpf/node.c
