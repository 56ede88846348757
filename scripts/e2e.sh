#!/usr/bin/env bash
# Runs end-to-end suites (packages, as arguments) and prints one table of what
# they found, also when some of it failed.
set -euo pipefail
cd "$(dirname "$0")/.."

# What is tested is what is here, not what was built last.
[[ -n ${ATOLL_BIN:-} ]] || make --no-print-directory -s build

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export ATOLL_REPORT=$work/report
touch "$ATOLL_REPORT"
go build -o "$work/summary" ./e2e/summary

# One suite after the other: each has a machine of its own.
go test -json -count=1 -p 1 -timeout "${E2E_TIMEOUT:-25m}" "$@" | "$work/summary" "$ATOLL_REPORT"
