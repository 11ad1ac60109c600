#!/bin/sh
# Brings up the cluster that is missing, runs the end-to-end tests, and takes
# down a cluster that it brought up: always on success, on failure unless KEEP=1.
# NODES, FLAGS (of "sandbox up"), RUN (a pattern of test names), PACKAGES (by default
# those that need nothing but Kubernetes).
set -eu
cd "$(dirname "$0")"
SANDBOX=$PWD/../../sandbox/bin/sandbox
SANDBOX_NAME=${SANDBOX_NAME:-e2e}
export SANDBOX SANDBOX_NAME
ours=
if ! "$SANDBOX" env >/dev/null 2>&1; then
	ours=1
	# shellcheck disable=SC2086 # FLAGS is a list
	"$SANDBOX" up -nodes "${NODES:-2}" -images e2e ${FLAGS:-}
fi
status=0
# shellcheck disable=SC2086 # so is PACKAGES
go test -count=1 -parallel 8 -timeout 30m -run "${RUN:-.}" ${PACKAGES:-./kubernetes ./smoke} || status=$?
if [ -n "$ours" ] && { [ $status = 0 ] || [ -z "${KEEP:-}" ]; }; then
	"$SANDBOX" down
elif [ $status != 0 ]; then
	echo "the cluster is kept: eval \"\$(sandbox -name $SANDBOX_NAME env)\""
fi
exit $status
