#!/bin/sh
# Brings up a cluster whose pods and Services are Waggle's alone, and waits
# until names are resolved in it. SANDBOX is the sandbox's program, arguments are
# flags of "sandbox up", WAGGLE a program that was built before. With OPERATOR=1
# the operator runs too, and gives out the sandbox's LoadBalancer addresses.
set -eu
cd "$(dirname "$0")/../.."
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
if [ -z "${WAGGLE:-}" ]; then
	WAGGLE=$stage/waggle
	CGO_ENABLED=0 go build -tags noinstall -trimpath -ldflags '-s -w' -o "$WAGGLE" ./cmd/waggle
fi
"$SANDBOX" up -cni-conf none -kube-proxy none "$@"
"$SANDBOX" load-image waggle:dev "/waggle=$WAGGLE"
host=$("$SANDBOX" kubectl get endpointslices -l kubernetes.io/service-name=kubernetes -o 'jsonpath={.items[0].endpoints[0].addresses[0]}')
for part in node operator; do
	sed "s/API_SERVER_HOST/\"$host\"/" "deploy/waggle-$part.yaml" >"$stage/waggle-$part.yaml"
done
"$SANDBOX" kubectl apply -f chart/waggle/files/crds -f "$stage/waggle-node.yaml"
"$SANDBOX" kubectl -n kube-system rollout status daemonset/cilium --timeout=120s
"$SANDBOX" kubectl wait --for=condition=Ready nodes --all --timeout=60s
"$SANDBOX" kubectl -n kube-system rollout status deployment/coredns --timeout=60s
if [ -n "${OPERATOR:-}" ]; then
	eval "$("$SANDBOX" env)"
	"$SANDBOX" kubectl apply -f "$stage/waggle-operator.yaml" -f - <<-POOL
		apiVersion: cilium.io/v2
		kind: CiliumLoadBalancerIPPool
		metadata: {name: sandbox}
		spec: {blocks: [$(printf '{cidr: "%s"}' "$SANDBOX_LB_CIDRS" | sed 's/,/"}, {cidr: "/g')]}
	POOL
	"$SANDBOX" kubectl -n kube-system rollout status deployment/cilium-operator --timeout=120s
fi
