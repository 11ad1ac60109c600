#!/bin/sh
# Runs the end-to-end tests on a cluster whose pods and Services are Waggle's
# alone, or, with PROXY=chart, those of the mesh on one that the chart was
# installed in, or, with PROXY=nftables or iptables, on the sandbox's own network
# those that need nothing but Kubernetes. It brings up the cluster that is missing, for
# each word of FAMILIES (ipv4; ipv6; ipv4,ipv6) one, and takes down what it
# brought up: always on success, on failure unless KEEP=1. NODES, FLAGS (of
# "sandbox up"), VALUES (of the chart, see mesh-up.sh), RUN (a pattern of test names),
# PACKAGES, VERBOSE=1, CONFORMANCE (a pattern of the conformance suite's tests that
# run, too).
set -eu
cd "$(dirname "$0")"
SANDBOX=$PWD/../../sandbox/bin/sandbox
SANDBOX_NAME=${SANDBOX_NAME:-e2e}
PROXY=${PROXY:-waggle}
export SANDBOX SANDBOX_NAME

tests() {
	packages=./kubernetes\ ./smoke
	[ "$PROXY" != waggle ] || packages="$packages ./node"
	[ "$PROXY" != chart ] || packages=./mesh
	# One package after the other: those of ./node end agents and nodes.
	# shellcheck disable=SC2086 # a list
	go test -p 1 -count=1 ${VERBOSE:+-v} -parallel 8 -timeout "${TIMEOUT:-40m}" -run "${RUN:-.}" ${PACKAGES:-$packages} || return
	[ -z "${CONFORMANCE:-}" ] || ../conformance/run.sh -test.run "^TestConformance\$/^($CONFORMANCE)\$"
}

up() {
	set -- -nodes "${NODES:-3}" -images e2e -ip-families "$1" ${FLAGS:-}
	if [ "$PROXY" = waggle ]; then
		./waggle-up.sh "$@"
	elif [ "$PROXY" = chart ]; then
		VALUES="--set l2announcements.enabled=true,l2announcements.leaseDuration=2s,l2announcements.leaseRenewDeadline=1500ms,l2announcements.leaseRetryPeriod=400ms ${VALUES:-}" \
			./mesh-up.sh "$@" -images e2e,conformance
	else
		"$SANDBOX" up -kube-proxy "$PROXY" "$@"
	fi
}

if "$SANDBOX" env >/dev/null 2>&1; then
	if [ "$PROXY" = waggle ] && ! "$SANDBOX" kubectl -n kube-system get daemonset/cilium >/dev/null; then
		echo "the cluster $SANDBOX_NAME is not on Waggle: sandbox -name $SANDBOX_NAME down, or PROXY=nftables" >&2
		exit 1
	fi
	if [ "$PROXY" = chart ] && ! "$SANDBOX" kubectl get gatewayclass/cilium >/dev/null; then
		echo "the cluster $SANDBOX_NAME has no Gateways: sandbox -name $SANDBOX_NAME down" >&2
		exit 1
	fi
	tests
	exit
fi
for families in ${FAMILIES:-ipv4}; do
	echo "== $families, $PROXY"
	status=0
	{ up "$families" && tests; } || status=$?
	if [ $status = 0 ] || [ -z "${KEEP:-}" ]; then
		"$SANDBOX" down
	else
		echo "the cluster is kept: eval \"\$(sandbox -name $SANDBOX_NAME env)\""
	fi
	[ $status = 0 ] || exit $status
done
