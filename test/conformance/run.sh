#!/bin/sh
# Runs the Gateway API's conformance suite. It brings up the cluster that is
# missing and takes down what it brought up, unless KEEP=1. Arguments go to the
# suite: -run-test=NAME, -supported-features=..., -gateway-class=..., -mesh-name=...
set -eu
cd "$(dirname "$0")"
SANDBOX=$PWD/../../sandbox/bin/sandbox
SANDBOX_NAME=${SANDBOX_NAME:-conformance}
export SANDBOX_NAME
ours=
if ! "$SANDBOX" env >/dev/null 2>&1; then
	ours=1
	# shellcheck disable=SC2086 # FLAGS is a list
	"$SANDBOX" up -nodes "${NODES:-2}" -gateway-api "${CHANNEL:-standard}" -images conformance ${FLAGS:-}
fi
eval "$("$SANDBOX" env)"
echo "building the suite (cached)"
CGO_ENABLED=0 go test -c -trimpath -o "$SANDBOX_CACHE/bin/conformance.test" .
status=0
"$SANDBOX_CACHE/bin/conformance.test" -test.v -test.timeout 60m -gateway-class "${GATEWAY_CLASS:-cilium}" "$@" || status=$?
if [ -n "$ours" ] && [ -z "${KEEP:-}" ]; then
	"$SANDBOX" down
fi
exit $status
