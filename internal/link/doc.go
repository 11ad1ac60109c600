// Package link makes the network of a node and of its pods: devices,
// addresses, routes, rules and sysctls, through netlink and /proc/sys.
//
//	pod                                node
//	eth0 10.0.1.5/32 ────veth──── lxc<hash>        ← BPF programs
//	default via 10.0.1.1               10.0.1.5/32 dev lxc<hash>
//	10.0.1.1 lladdr <host's end>       10.0.1.5 lladdr <pod's end>
//	                                   local 10.0.1.1 (router), 10.0.1.2 (ingress)
//	                                   10.0.2.0/24 via <other node>
//	                                   from all fwmark 0x200/0xf00 lookup 2004
//
// IPv6 is the same with /128, router and ingress being addresses of lo. Both ends of a pod's link know the other's MAC
// address for good: no ARP and no neighbour discovery is needed, so packets
// that eBPF hands past the host's end (bpf_redirect_peer) and packets of the
// node's stack find it alike. Router and ingress address are never chosen as
// a source by themselves.
//
// It promises to touch only what carries its marks (protocol numbers of
// routes and rules, the group of devices, the label of addresses), and to read
// back every sysctl it needs. It loads no BPF and knows no Kubernetes.
package link
