#!/bin/sh
# Brings up a cluster whose pods' network and Services are Waggle's, and where
# nothing of Waggle's is above: no Envoy, and no operators but OPERATORS (which give
# out the sandbox's LoadBalancer addresses). All else is as in mesh-up.sh.
set -eu
VALUES="--set l7Proxy=false,gatewayAPI.enabled=false,envoyConfig.enabled=false,operator.replicas=${OPERATORS:-0} ${VALUES:-}"
export VALUES
exec "$(dirname "$0")/mesh-up.sh" "$@"
