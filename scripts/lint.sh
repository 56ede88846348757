#!/usr/bin/env bash
# Checks the text of the repository; changes nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

status=0
note() { echo "lint: $*"; }

unformatted=$(git ls-files '*.go' | xargs gofmt -l)
if [[ -n $unformatted ]]; then
  note "gofmt would change:"
  echo "$unformatted"
  status=1
fi
note "go vet"
go vet ./... || status=1
note "staticcheck"
go tool staticcheck ./... || status=1
note "shellcheck"
git ls-files | xargs grep -lE '^#!.*\b(ba)?sh\b' | xargs shellcheck || status=1

# The vulnerability database is a server; without it nothing can be said. What
# was found is never taken for that, whatever words are in it.
note "govulncheck"
code=0
out=$(timeout 120 go tool govulncheck ./... 2>&1) || code=$?
case $code in
0) ;;
3) # vulnerabilities
  echo "$out"
  status=1
  ;;
124) note "govulncheck skipped: it was not done after 120 seconds" ;;
*)
  if grep -qE 'no such host|connection refused|dial tcp|403 Forbidden|timeout|HTTP GET .* returned' <<<"$out"; then
    note "govulncheck skipped: its database cannot be reached"
  else
    echo "$out"
    status=1
  fi
  ;;
esac
exit "$status"
