#!/usr/bin/env bash
# Fuzzes every parser of outside input for FUZZTIME each (1m unless told), or
# those whose names match the first argument: FUZZTIME=10m scripts/fuzz.sh 'FuzzHandle|FuzzParseRule'
set -euo pipefail
cd "$(dirname "$0")/.."

time=${FUZZTIME:-1m} only=${1:-.}
# go builds where programs may run: /dev/shm may be noexec, as Docker's is.
export GOTMPDIR=${GOTMPDIR:-${TMPDIR:-/tmp}}
# Archives are unpacked into memory: a disk would be what is tried most.
[[ -w /dev/shm ]] && TMPDIR=$(mktemp -d /dev/shm/atoll-fuzz.XXXXXX) && export TMPDIR && trap 'rm -rf "$TMPDIR"' EXIT

status=0
while read -r folder target; do
  [[ $target =~ $only ]] || continue
  echo "== $target in $folder for $time"
  # What fails says where its input is, long before its last lines.
  if out=$(go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "./$folder" </dev/null 2>&1); then
    tail -n 3 <<<"$out"
  else
    echo "$out"
    status=1
  fi
done < <(git grep -Eo '^func Fuzz[A-Za-z]+' -- '*_test.go' | sed 's|\(.*\)/[^/]*:func \(.*\)|\1 \2|')
exit "$status"
