#!/usr/bin/env bash
# All tests, as `make test` runs them: unit and component tests with the race
# detector, then the end-to-end tests. Left-overs of a killed run are removed
# first.
set -euo pipefail
cd "$(dirname "$0")/.."

bin/atoll-lab clean

mapfile -t packages < <(go list ./... | grep -vE '/e2e(/attack|/chaos|/repair)?$')
go test -race -timeout 12m "${packages[@]}"
scripts/e2e.sh ./e2e
