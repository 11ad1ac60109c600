#!/bin/sh
# "make up": a cluster with Waggle, and in it an application behind a Gateway.
set -eu
cd "$(dirname "$0")"
./mesh-up.sh "$@"
SANDBOX=${SANDBOX:-$PWD/../../sandbox/bin/sandbox}
printf '== applying examples/in-cluster\n'
"$SANDBOX" kubectl apply -f ../../examples/in-cluster
"$SANDBOX" kubectl rollout status deployment/echo-1 deployment/echo-2 --timeout=120s
"$SANDBOX" kubectl wait --for=condition=Programmed gateway/web --timeout=60s
address=$("$SANDBOX" kubectl get gateway/web -o 'jsonpath={.status.addresses[0].value}')
cat <<EOF

The Gateway "web" answers at $address, half by echo-1 and half by echo-2:

    curl http://$address/echo

    eval "\$(sandbox/bin/sandbox env)"                  # KUBECONFIG, for kubectl and waggle
    bin/waggle status
    sandbox/bin/sandbox exec ext curl http://$address/  # from outside of the cluster
    make down
EOF
