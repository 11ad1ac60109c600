#!/bin/sh
# Runs the specs of specs.txt, one regular expression a line, of Kubernetes' own
# end-to-end suite. It brings up the cluster that is missing, with PROXY as its
# service proxy, and takes down what it brought up, unless KEEP=1. SPECS, an
# extended regular expression, picks lines. Arguments go to the suite.
set -eu
cd "$(dirname "$0")"
SANDBOX=$PWD/../../sandbox/bin/sandbox
SANDBOX_NAME=${SANDBOX_NAME:-services}
export SANDBOX_NAME
ours=
if ! "$SANDBOX" env >/dev/null 2>&1; then
	ours=1
	"$SANDBOX" up -nodes 2 -kube-proxy "${PROXY:-nftables}" -images kubernetes
fi
eval "$("$SANDBOX" env)"
echo "building the suite (cached)"
CGO_ENABLED=0 go test -c -trimpath -o "$SANDBOX_CACHE/bin/k8s-e2e.test" .
ln -sf kube "$SANDBOX_CACHE/bin/kubectl"
specs=$(sed -e '/^#/d' -e '/^$/d' specs.txt | grep -E "${SPECS:-.}" | paste -s -d '|' -)
[ -n "$specs" ] || { echo "SPECS=$SPECS: no such line in specs.txt" >&2; exit 1; }
status=0
"$SANDBOX_CACHE/bin/k8s-e2e.test" -test.timeout 60m -provider skeleton -kubeconfig "$KUBECONFIG" -kubectl-path "$SANDBOX_CACHE/bin/kubectl" \
	-ginkgo.focus "\\[sig-network\\] ($specs)" -ginkgo.skip '\[(Slow|Serial|Disruptive)\]' -ginkgo.timeout 60m -ginkgo.succinct -ginkgo.no-color "$@" || status=$?
if [ -n "$ours" ] && [ -z "${KEEP:-}" ]; then
	"$SANDBOX" down
fi
exit $status
