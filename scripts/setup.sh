#!/usr/bin/env bash
# Installs what building, running and testing Atoll needs on Debian 12 or
# Ubuntu 24.04. Safe to run again; installs nothing that is there. With the
# argument e2e also the runtimes whose look-ups the end-to-end tests try; with
# the argument list it only says what it would need.
set -euo pipefail

packages=(
  # run: containers, the kernel's network tools, the stack image
  containerd runc iproute2 nftables mmdebstrap debian-archive-keyring zstd
  # build and test: race detector, generated eBPF objects
  gcc libc6-dev clang-14 llvm-14
  # look around and check: demo, lint
  bind9-dnsutils iputils-ping procps curl jq shellcheck
  # measure: names (make bench)
  dnsperf
)

if [[ ${1:-} == e2e ]]; then
  packages+=(musl-tools openjdk-17-jdk-headless)
fi

if [[ ${1:-} == list ]]; then
  echo "${packages[*]}"
  exit 0
fi
if [[ $(id -u) -ne 0 ]]; then
  echo "setup: run this as root: it installs packages and the tests need namespaces and eBPF" >&2
  exit 1
fi
if ! command -v go >/dev/null; then
  echo "setup: install Go first (https://go.dev/dl/), then run this again" >&2
  exit 1
fi
if ! command -v apt-get >/dev/null; then
  echo "setup: this script knows apt only; install these by hand: ${packages[*]}" >&2
  exit 1
fi

# there says whether a package is installed, or what it is for is there by
# another one: Docker's containerd.io has containerd and runc and cannot be
# installed beside packages of these names, gcc may be gcc-13.
there() {
  case $1 in
  containerd) command -v containerd >/dev/null && command -v containerd-shim-runc-v2 >/dev/null && return ;;
  runc | gcc) command -v "$1" >/dev/null && return ;;
  esac
  [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null || true) == installed ]]
}

missing=()
for p in "${packages[@]}"; do
  there "$p" || missing+=("$p")
done
if [[ ${#missing[@]} -eq 0 ]]; then
  exit 0
fi
echo "setup: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# apt makes room for a package by removing what conflicts with it, silently.
# What is on the machine is not ours to remove.
removed=$(apt-get install -s -qq --no-install-recommends "${missing[@]}" | awk '$1 == "Remv" { printf "%s%s", sep, $2; sep = " " }')
if [[ -n $removed ]]; then
  echo "setup: nothing is installed: ${missing[*]} cannot be beside $removed, which this machine has; remove these if nobody needs them, or install by hand what has the same commands and no conflict" >&2
  exit 1
fi
# No service of a package is to start: Atoll runs a containerd of its own.
policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
  printf '#!/bin/sh\nexit 101\n' > "$policy"
  chmod 755 "$policy"
  trap 'rm -f "$policy"' EXIT
fi
apt-get install -y -qq --no-install-recommends --no-remove "${missing[@]}" >/dev/null
