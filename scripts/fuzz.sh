#!/usr/bin/env bash
# Fuzzes every parser of outside input for FUZZTIME each (1m unless told), or
# those whose names match the first argument: FUZZTIME=10m scripts/fuzz.sh 'FuzzHandle|FuzzParseRule'
set -euo pipefail
cd "$(dirname "$0")/.."

time=${FUZZTIME:-1m} only=${1:-.}
# Archives are unpacked into memory: a disk would be what is tried most.
[[ -w /dev/shm ]] && TMPDIR=$(mktemp -d /dev/shm/atoll-fuzz.XXXXXX) && export TMPDIR && trap 'rm -rf "$TMPDIR"' EXIT

git grep -Eo '^func Fuzz[A-Za-z]+' -- '*_test.go' | sed 's|\(.*\)/[^/]*:func \(.*\)|\1 \2|' | while read -r folder target; do
  [[ $target =~ $only ]] || continue
  echo "== $target in $folder for $time"
  go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "./$folder" </dev/null | tail -n 3
done
