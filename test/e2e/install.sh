#!/bin/sh
# Runs the tests of ./install: builds this tree and an older commit, OLD (default:
# the one before), brings up a cluster of three nodes, and takes it down, on failure
# unless KEEP=1. FLAGS are of "sandbox up". OLD_WAGGLE and OLD_IMAGE, WAGGLE and
# WAGGLE_IMAGE are what was built before.
set -eu
cd "$(dirname "$0")/../.."
SANDBOX=$PWD/sandbox/bin/sandbox
SANDBOX_NAME=${SANDBOX_NAME:-e2e}
export SANDBOX SANDBOX_NAME

if [ -z "${OLD_WAGGLE:-}" ]; then
	older=$(mktemp -d)
	trap 'git worktree remove --force "$older" || rm -rf "$older"' EXIT
	echo "== building ${OLD:-HEAD~1}"
	git worktree add --force --detach "$older" "${OLD:-HEAD~1}"
	mkdir -p .tools "$older/.tools"
	ln -s "$PWD"/.tools/* "$older/.tools/" # it may want another Envoy
	make -C "$older" --no-print-directory --silent build-install image
	OLD_WAGGLE="$older/bin/waggle" OLD_IMAGE="$older/bin/waggle-image.tar"
fi
if [ -z "${WAGGLE:-}" ]; then
	echo "== building this tree"
	make --no-print-directory --silent build-install image
	WAGGLE="$PWD/bin/waggle" WAGGLE_IMAGE="$PWD/bin/waggle-image.tar"
fi
export OLD_WAGGLE OLD_IMAGE WAGGLE WAGGLE_IMAGE
# shellcheck disable=SC2086 # FLAGS is a list
"$SANDBOX" up -nodes "${NODES:-3}" -cni-conf none -kube-proxy none -gateway-api standard -images e2e ${FLAGS:-}
eval "$("$SANDBOX" env)"
status=0
go test -C test/e2e -count=1 -timeout 40m -v ./install || status=$?
if [ $status = 0 ] || [ -z "${KEEP:-}" ]; then
	"$SANDBOX" down
fi
exit $status
