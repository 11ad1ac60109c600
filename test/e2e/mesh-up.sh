#!/bin/sh
# Brings up a cluster with Waggle in it, as users install it: the image, the
# chart, and a pool of LoadBalancer addresses that this machine and "ext" reach.
# Again: brings into it what has changed. Arguments are flags of "sandbox up".
#
#   SANDBOX         the sandbox's program
#   VALUES          arguments of "waggle upgrade", as in '--set envoy.enabled=false'
#   WAGGLE          the program that installs, with its chart (default: built here)
#   WAGGLE_IMAGE    an archive with the image (default: built here)
set -eu
cd "$(dirname "$0")/../.."
SANDBOX=${SANDBOX:-$PWD/sandbox/bin/sandbox}

say() { printf '== %s\n' "$*"; }

if [ -z "${WAGGLE:-}" ]; then
	say "building bin/waggle (the first time takes two minutes)"
	make --no-print-directory --silent build-install
	WAGGLE=$PWD/bin/waggle
fi
if [ -z "${WAGGLE_IMAGE:-}" ]; then
	say "building the image"
	make --no-print-directory --silent image
	WAGGLE_IMAGE=$PWD/bin/waggle-image.tar
fi
say "starting the cluster"
"$SANDBOX" up -cni-conf none -kube-proxy none -gateway-api standard -images e2e "$@"
eval "$("$SANDBOX" env)"
loaded=$("$SANDBOX" load-archive "$WAGGLE_IMAGE")
families=ipv4.enabled=false,ipv6.enabled=false
case $SANDBOX_LB_CIDRS in *.*) families=$families,ipv4.enabled=true ;; esac
case $SANDBOX_LB_CIDRS in *:*) families=$families,ipv6.enabled=true ;; esac
say "installing Waggle"
# shellcheck disable=SC2086 # VALUES is a list
"$WAGGLE" upgrade --install --set "gatewayAPI.enabled=true,envoyConfig.enabled=true,$families" --set "image.digest=${loaded##* }" ${VALUES:-}
"$SANDBOX" kubectl wait --for=condition=Ready nodes --all --timeout=60s
"$SANDBOX" kubectl -n kube-system rollout status deployment/coredns --timeout=60s
"$SANDBOX" kubectl apply -f - <<EOF
apiVersion: cilium.io/v2
kind: CiliumLoadBalancerIPPool
metadata: {name: sandbox}
spec:
  allowFirstLastIPs: "No"
  blocks: [$(printf '{cidr: "%s"},' $(echo "$SANDBOX_LB_CIDRS" | tr , ' '))]
EOF
