#!/bin/sh
# What continuous integration runs of the sandbox, on a machine that may have
# nothing cached: unit tests, a cluster of two nodes, the end-to-end smoke tests,
# and that taking it down leaves nothing. Prints where it is.
set -eu
cd "$(dirname "$0")"
say() { printf '== %s %s\n' "$(date -u +%H:%M:%S)" "$*"; }

say "sandbox: vet and unit tests"
go vet ./...
go test ./internal/... ./images/...

say "sandbox: build"
mkdir -p bin
go build -o bin/sandbox .
SANDBOX=$PWD/bin/sandbox
SANDBOX_NAME=ci
export SANDBOX SANDBOX_NAME
trap '"$SANDBOX" down' EXIT
trap 'exit 130' INT TERM

say "sandbox: up, two nodes (the first time this builds Kubernetes: minutes)"
"$SANDBOX" up -nodes 2 -images e2e

say "sandbox: smoke tests"
go test -C ../test/e2e -count=1 -parallel 8 ./smoke

say "sandbox: down"
"$SANDBOX" down
trap - EXIT
left=$({ ps ax -o args= | grep '^sandbox-init' | grep 'sandbox-ci' ; ip link show sbx-ci ; find /sys/fs/cgroup -maxdepth 2 -name sbx-ci ; grep sandbox-ci /proc/self/mountinfo ; } 2>/dev/null || true)
if [ -n "$left" ]; then
	printf 'left behind:\n%s\n' "$left"
	exit 1
fi
say "sandbox: done"
