#!/usr/bin/env bash
# The compiler of the BPF programs: clang 14 and libbpf's headers, as Debian 12
# has them, so that `make generate` gives the bytes that are committed. Does
# nothing where they are; installs them as root on Debian, or says what to install.
set -euo pipefail
packages=(clang-14 llvm-14 libbpf-dev linux-libc-dev bpftool)
if command -v clang-14 >/dev/null && command -v bpftool >/dev/null && command -v llvm-strip-14 >/dev/null && [ -e /usr/include/bpf/bpf_helpers.h ] && [ -e /usr/include/linux/bpf.h ]; then
	exit 0
fi
if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
	echo "make generate compiles the BPF programs and needs ${packages[*]} (Debian's names); as root on Debian this script installs them" >&2
	exit 1
fi
echo "installing ${packages[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get install -y --no-install-recommends "${packages[@]}" >/dev/null || {
	apt-get update >/dev/null
	apt-get install -y --no-install-recommends "${packages[@]}" >/dev/null
}
