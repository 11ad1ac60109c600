#!/bin/sh
# Runs the specs of [sig-network] of Kubernetes' own end-to-end suite, but for
# those that left-out.txt names. It brings up the cluster that is missing and
# takes down what it brought up, unless KEEP=1.
#
# PROXY: waggle, or a service proxy of the sandbox's: nftables, iptables.
# FAMILIES: ipv4,ipv6; ipv4; ipv6. SPECS, a regular expression, picks specs.
# PROCS: specs at a time. Arguments go to the suite.
set -eu
cd "$(dirname "$0")"
SANDBOX=$PWD/../../sandbox/bin/sandbox
SANDBOX_NAME=${SANDBOX_NAME:-services}
PROXY=${PROXY:-waggle}
FAMILIES=${FAMILIES:-ipv4,ipv6}
export SANDBOX SANDBOX_NAME
if ! "$SANDBOX" env >/dev/null 2>&1; then
	[ -n "${KEEP:-}" ] || trap '"$SANDBOX" down' EXIT
	if [ "$PROXY" = waggle ]; then
		OPERATORS=2 ../e2e/waggle-up.sh -nodes 3 -ip-families "$FAMILIES" -images kubernetes
	else
		"$SANDBOX" up -nodes 3 -ip-families "$FAMILIES" -images kubernetes -kube-proxy "$PROXY"
	fi
fi
eval "$("$SANDBOX" env)"
bin=$SANDBOX_CACHE/bin
echo "building the suite (cached)"
CGO_ENABLED=0 go test -c -trimpath -o "$bin/k8s-e2e.test" .
go build -o "$bin/ginkgo" github.com/onsi/ginkgo/v2/ginkgo
ln -sf kube "$bin/kubectl"
"$bin/k8s-e2e.test" -test.run TestLeftOut
# What Waggle alone lacks is below headings that begin with its name.
skip=$(awk -v proxy="$PROXY" '/^#/ { waggles = /^# Waggle:/ } /^[^#]/ && (proxy == "waggle" || !waggles)' left-out.txt | paste -s -d '|' -)
# Nobody gives out LoadBalancer addresses there.
[ "$PROXY" = waggle ] || skip="$skip|Feature:LoadBalancer"
case $FAMILIES in *,*) ;; *) skip="$skip|Feature:IPv6DualStack" ;; esac
"$bin/ginkgo" run -procs "${PROCS:-4}" --no-color --succinct --timeout 60m \
	--focus "\\[sig-network\\].*(${SPECS:-})" --skip "$skip" "$bin/k8s-e2e.test" -- \
	-test.run TestServices -test.timeout 60m -num-nodes 3 -provider skeleton -kubeconfig "$KUBECONFIG" -kubectl-path "$bin/kubectl" "$@"
