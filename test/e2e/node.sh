#!/bin/sh
# Runs the end-to-end tests that need no Gateway on a cluster whose pods and
# Services are Waggle's alone, which it brings up if it is not up. Takes down
# what it brought up, unless KEEP=1. FAMILIES (ipv4; ipv6; ipv4,ipv6), NODES,
# FLAGS (of "sandbox up"), RUN (a pattern of test names), PACKAGES.
set -eu
cd "$(dirname "$0")"
SANDBOX=$PWD/../../sandbox/bin/sandbox
SANDBOX_NAME=${SANDBOX_NAME:-node}
PACKAGES=${PACKAGES:-./kubernetes ./smoke ./node}
export SANDBOX SANDBOX_NAME PACKAGES
finish() {
	status=$?
	if [ $status = 0 ] || [ -z "${KEEP:-}" ]; then
		"$SANDBOX" down
	else
		echo "the cluster is kept: eval \"\$(sandbox -name $SANDBOX_NAME env)\""
	fi
	exit $status
}
if ! "$SANDBOX" env >/dev/null 2>&1; then
	trap finish EXIT
	# shellcheck disable=SC2086 # FLAGS is a list
	./waggle-up.sh -nodes "${NODES:-3}" -images e2e -ip-families "${FAMILIES:-ipv4}" ${FLAGS:-}
fi
./run.sh
