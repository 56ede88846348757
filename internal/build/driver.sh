#!/usr/bin/env bash
# Runs inside the build container as the unprivileged user: chooses the
# buildpack(s) and runs detect, compile and release with the classic
# arguments BUILD_DIR CACHE_DIR ENV_DIR. Exit code 97: nothing was detected.
#
# Order of choice: BUILDPACK_URL, BUILDPACK_NAME, .buildpacks, detection.
set -euo pipefail

readonly build_dir=/app cache_dir=/build/cache env_dir=/build/env out_dir=/build/out
readonly builtin_dir=/build/buildpacks unknown=97

say() { printf -- '-----> %s\n' "$*"; }
fail() { printf ' !     %s\n' "$*"; exit 1; }

# fetch URL DIR: a git repository (#branch allowed) or a .tar.gz/.tgz file.
fetch() {
  local url=${1%%#*} branch="" dir=$2
  [[ $1 == *#* ]] && branch=${1#*#}
  if [[ $url == *.tar.gz || $url == *.tgz ]]; then
    mkdir -p "$dir"
    curl -fsSL --retry 2 "$url" | tar -xz -C "$dir" || fail "cannot download the buildpack $url: check BUILDPACK_URL or .buildpacks"
    # An archive with one top folder is that folder.
    local entries=("$dir"/*)
    if [[ ${#entries[@]} -eq 1 && -d ${entries[0]} && ! -d $dir/bin ]]; then
      mv "${entries[0]}"/* "$dir"/
    fi
  else
    git clone --quiet --recursive ${branch:+--branch "$branch"} "$url" "$dir" || fail "cannot clone the buildpack $url: check BUILDPACK_URL or .buildpacks"
  fi
  [[ -x $dir/bin/compile ]] || fail "$url is no buildpack: it has no executable bin/compile"
}

# compile DIR: runs one buildpack and keeps what bin/release says.
compile() {
  local status=0
  "$1/bin/compile" "$build_dir" "$cache_dir" "$env_dir" || status=$?
  if [[ $status -ne 0 ]]; then
    printf ' !     bin/compile ended with code %s\n' "$status"
    exit "$((status == unknown ? 1 : status))"
  fi
  if [[ -f $1/export ]]; then
    # shellcheck disable=SC1091
    source "$1/export"
  fi
  : > "$out_dir/release.yml"
  if [[ -x $1/bin/release ]]; then
    "$1/bin/release" "$build_dir" > "$out_dir/release.yml" || fail "bin/release failed"
  fi
}

# detected DIR: prints the name the buildpack gives, fails if it declines.
detected() { "$1/bin/detect" "$build_dir" 2>/dev/null; }

multi() {
  local n=0 line dir
  while IFS= read -r line || [[ -n $line ]]; do
    line=${line%$'\r'}
    [[ -z $line || $line == \#* ]] && continue
    n=$((n + 1)) dir=/tmp/buildpacks/$n
    say "Buildpack $n: $line"
    fetch "$line" "$dir"
    detected "$dir" >/dev/null || fail "the buildpack $line does not recognise this app; remove it from .buildpacks"
    compile "$dir"
  done < "$build_dir/.buildpacks"
  [[ $n -gt 0 ]] || fail ".buildpacks is empty: write one URL per line, or remove the file"
}

cd "$build_dir"
if [[ -n ${ATOLL_BUILDPACK_URL:-} ]]; then
  say "Buildpack: $ATOLL_BUILDPACK_URL"
  fetch "$ATOLL_BUILDPACK_URL" /tmp/buildpacks/custom
  compile /tmp/buildpacks/custom
elif [[ -n ${ATOLL_BUILDPACK_NAME:-} ]]; then
  dir=$builtin_dir/$ATOLL_BUILDPACK_NAME
  [[ $ATOLL_BUILDPACK_NAME =~ ^[a-z]+$ && -d $dir ]] ||
    fail "BUILDPACK_NAME is '$ATOLL_BUILDPACK_NAME'; there are: $(tr '\n' ' ' < "$builtin_dir/ORDER")"
  say "Buildpack: $ATOLL_BUILDPACK_NAME"
  compile "$dir"
elif [[ -f .buildpacks ]]; then
  multi
else
  found=""
  while IFS= read -r name; do
    if title=$(detected "$builtin_dir/$name"); then
      say "$title app detected"
      found=$name
      break
    fi
  done < "$builtin_dir/ORDER"
  [[ -n $found ]] || exit "$unknown"
  compile "$builtin_dir/$found"
fi
