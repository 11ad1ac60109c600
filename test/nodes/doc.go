// Package nodes is a test ground for a node's data path: two nodes, their
// pods and a client outside, each a network namespace of this machine, with
// both address families.
//
//	         192.168.78.0/24, fd78::/64 (a bridge)
//	   ┌──────────────┬─────────────────────┐
//	n1 .1          n2 .2               client .9
//	10.78.1.0/24   10.78.2.0/24
//	fd78:1::/64    fd78:2::/64
//	 pods .10…      pods .10…
//
// Nodes route to each other's pods. Each node has a cgroup of its own, which
// stands for the root of the hierarchy, and a BPF file system. In each
// namespace lives a process that serves, asks and loads on a test's behalf,
// see Resident; it is the test binary itself, so a package that uses the
// ground calls Main from its TestMain.
//
// Names carry the process's number: several grounds work side by side, all is
// removed at a test's end, and what a killed process has left is removed by
// the next one. The ground needs root. It attaches no programs.
package nodes
