#!/bin/sh
# Brings up a cluster whose pods and Services are Waggle's alone, and runs the
# end-to-end tests that need no Gateway. Takes it down again unless KEEP=1.
# FAMILIES (ipv4; ipv6; ipv4,ipv6), NODES, FLAGS (of "sandbox up"), RUN.
set -eu
cd "$(dirname "$0")/../.."
SANDBOX=$PWD/sandbox/bin/sandbox
SANDBOX_NAME=${SANDBOX_NAME:-node}
export SANDBOX SANDBOX_NAME
stage=$(mktemp -d)
finish() {
	status=$?
	rm -rf "$stage"
	if [ $status = 0 ] || [ -z "${KEEP:-}" ]; then
		"$SANDBOX" down
	else
		echo "the cluster is kept: eval \"\$(sandbox -name $SANDBOX_NAME env)\""
	fi
	exit $status
}
trap finish EXIT

CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$stage/waggle" ./cmd/waggle
# shellcheck disable=SC2086 # FLAGS is a list
"$SANDBOX" up -nodes "${NODES:-3}" -images e2e -cni-conf none -kube-proxy none -ip-families "${FAMILIES:-ipv4}" ${FLAGS:-}
"$SANDBOX" load-image waggle:dev "/waggle=$stage/waggle"
host=$("$SANDBOX" kubectl get endpointslices -l kubernetes.io/service-name=kubernetes -o 'jsonpath={.items[0].endpoints[0].addresses[0]}')
sed "s/API_SERVER_HOST/\"$host\"/" deploy/waggle-node.yaml >"$stage/waggle-node.yaml"
"$SANDBOX" kubectl apply -f api/cilium.io/v2/crds -f "$stage/waggle-node.yaml"
"$SANDBOX" kubectl -n kube-system rollout status daemonset/cilium --timeout=120s
"$SANDBOX" kubectl wait --for=condition=Ready nodes --all --timeout=60s
"$SANDBOX" kubectl -n kube-system rollout status deployment/coredns --timeout=60s
PACKAGES='./kubernetes ./smoke ./node' test/e2e/run.sh
