#!/usr/bin/env bash
# Runs end-to-end suites (packages, as arguments) and prints one table of what
# they found, also when some of it failed.
set -euo pipefail
cd "$(dirname "$0")/.."

# What is tested is what is here, not what was built last.
[[ -n ${ATOLL_BIN:-} ]] || make --no-print-directory -s build

ATOLL_REPORT=$(mktemp)
export ATOLL_REPORT
trap 'rm -f "$ATOLL_REPORT"' EXIT

code=0
# One suite after the other: each has a machine of its own.
go test -count=1 -p 1 -timeout "${E2E_TIMEOUT:-25m}" "$@" || code=$?
echo
go run ./e2e/summary "$ATOLL_REPORT"
exit "$code"
