#!/bin/sh
# Runs the Gateway API's conformance suite. It brings up the cluster that is
# missing, with Waggle's chart in it, and takes down what it brought up, unless
# KEEP=1. CHANNEL (experimental, which HTTPRouteRetry needs; or standard) is of the API's
# definitions. PROFILE (GATEWAY-HTTP, ...) is what is claimed, REPORT the file for the
# suite's report of that. Arguments go to the suite: -run-test=NAME,
# -test.run='^TestConformance$/^(NAME|NAME)$', -supported-features=..., -mesh-name=...
set -eu
cd "$(dirname "$0")"
SANDBOX=${SANDBOX:-$PWD/../../sandbox/bin/sandbox}
SANDBOX_NAME=${SANDBOX_NAME:-conformance}
export SANDBOX_NAME
ours=
if ! "$SANDBOX" env >/dev/null 2>&1; then
	ours=1
	# shellcheck disable=SC2086 # FLAGS is a list
	SANDBOX=$SANDBOX ../e2e/mesh-up.sh -nodes "${NODES:-2}" -gateway-api "${CHANNEL:-experimental}" -images e2e,conformance ${FLAGS:-}
fi
eval "$("$SANDBOX" env)"
echo "building the suite (cached)"
CGO_ENABLED=0 go test -c -trimpath -o "$SANDBOX_CACHE/bin/conformance.test" .
# Those of an earlier run.
"$SANDBOX" kubectl wait --for=delete --timeout=120s namespace/gateway-conformance-infra namespace/gateway-conformance-app-backend namespace/gateway-conformance-web-backend
# Addresses that a Gateway asks for: one of the pool's end, and one of no pool.
set -- -usable-address "${SANDBOX_LB_CIDRS%.*}.200" -unusable-address 192.0.2.1 "$@"
if [ -n "${PROFILE:-}" ]; then
	set -- -conformance-profiles "$PROFILE" -organization waggle-mesh -project waggle -url https://github.com/waggle-mesh/waggle \
		-contact https://github.com/waggle-mesh/waggle/issues -version "$(git describe --tags --always 2>/dev/null || echo unknown)" ${REPORT:+-report-output "$REPORT"} "$@"
fi
status=0
"$SANDBOX_CACHE/bin/conformance.test" -test.v -test.timeout 60m -gateway-class "${GATEWAY_CLASS:-cilium}" "$@" || status=$?
if [ -n "$ours" ] && [ -z "${KEEP:-}" ]; then
	"$SANDBOX" down
fi
exit $status
