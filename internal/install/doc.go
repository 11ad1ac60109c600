// Package install puts Waggle into a cluster with Helm as a library: the same
// releases that `helm` would make of chart/waggle, so that either can go on
// where the other began.
//
// It waits for nothing but Helm itself; whoever calls it looks whether the
// workloads come up. It is not in the program waggle (build tag "noinstall"),
// but in waggle-install beside it: Helm costs every process 50 MB.
package install
