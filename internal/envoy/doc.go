// Package envoy runs the Envoy of `waggle run`: it starts the stock binary,
// keeps it running, finds it again after waggle was killed, and stops it
// without cutting requests.
//
// Envoy lives in a session of its own with its output in a file, so neither
// Ctrl-C in waggle's terminal nor waggle's sudden death reaches it. Requests
// are served on meanwhile, and the next waggle takes it over.
//
// At most one Envoy lives per state directory. Envoy inherits a locked file
// (flock); the kernel unlocks it when Envoy is gone and at no other time. So
// there is no pid file that could be stale, and no instant at which a kill -9
// of waggle leaves an Envoy that the next waggle does not see. Two Envoys
// would share their ports without an error from anybody.
//
// Envoy runs with --disable-hot-restart: with hot restart on it dies with its
// parent, needs shared memory named by a number that is unique on the machine,
// and leaves that behind. The price is that a changed bootstrap or binary
// means a short gap, in which connections are refused; everything else
// travels by xDS.
//
// It does not make the bootstrap configuration and does not serve xDS.
package envoy
