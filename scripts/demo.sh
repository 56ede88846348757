#!/usr/bin/env bash
# The demo: a server in a laboratory (network namespaces without a link to
# this machine's network), three apps deployed from examples/shop, and their
# public and private traffic. `demo.sh up` leaves it running, `demo.sh down`
# removes everything.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly lab=demo
readonly data=/var/lib/atoll-demo run=/run/atoll-demo
readonly stack=${STACK_DIR:-/var/lib/atoll-cache/stack}
readonly server_addr=203.0.113.2
readonly api_port=${DEMO_API_PORT:-7000} http_port=${DEMO_HTTP_PORT:-8080}
readonly domain=atoll.localhost
export PATH=$PWD/bin:$PATH
# The demo's client keeps its login to itself.
readonly api_url=http://127.0.0.1:$api_port
export XDG_CONFIG_HOME=$run/config NO_COLOR=1
unset ATOLL_URL ATOLL_TOKEN ATOLL_APP

title() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
# show COMMAND...: prints the command as one would type it, then runs it.
show() { printf '\n$ %s\n' "$*"; "$@"; }
die() { printf 'demo: %s\n' "$*" >&2; exit 1; }

# eventually SECONDS COMMAND...: waits for a condition.
eventually() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [[ $SECONDS -lt $deadline ]] || return 1
    sleep 0.2
  done
}

in_server() { atoll-lab exec $lab server -- "$@"; }
from_internet() { atoll-lab exec $lab internet -- "$@"; }

# pid_of APP CONTAINER: a process inside, as seen from this machine.
pid_of() {
  local id
  id=$(atoll -a "$1" ps --json | jq -r --arg name "$2" '.[] | select(.label == $name) | .id' | head -1)
  [[ -n $id ]] || die "$1 has no container $2"
  find /sys/fs/cgroup -path "*$id*" -name cgroup.procs -exec head -n 1 {} + -quit
}

# inside APP CONTAINER COMMAND...: runs a command in a container's namespaces.
inside() {
  local pid
  pid=$(pid_of "$1" "$2")
  nsenter --target "$pid" --mount --net --uts -- "${@:3}"
}

start_server() {
  setsid atoll-lab exec $lab server -- "$PWD/bin/atoll" server \
    --data-dir $data --run-dir $run --bpffs $run/bpf --stack-dir "$stack" --resolv-conf $run/resolv.conf \
    --base-domain $domain --cgroup-parent /atoll-lab-$lab/atoll \
    --api-listen $server_addr:7000 --api-url "$api_url" --public-port "$http_port" >>$run/server.log 2>&1 </dev/null &
  disown
  eventually 60 curl -fsS "$api_url/healthz" || { tail -n 20 $run/server.log >&2; die "the server did not start"; }
}

server_pid() { pgrep -f -- "atoll server --data-dir $data " | head -n 1; }

down() {
  local pid
  if pid=$(server_pid) && [[ -n $pid ]]; then
    kill -TERM "$pid" 2>/dev/null || true
    eventually 10 bash -c "! kill -0 $pid" || true
  fi
  atoll-lab down $lab 2>/dev/null || true
  local m
  while read -r m; do umount -l "$m" 2>/dev/null || true; done < <(awk '{print $2}' /proc/mounts | grep -E "^($run|$data)(/|$)" | sort -r)
  rm -rf $run $data
}

up() {
  [[ $(id -u) -eq 0 ]] || die "run this as root: it makes network namespaces and containers"
  if [[ -e $run/token ]] || [[ -n $(server_pid) ]]; then
    echo "demo: removing the demo that is there"
    down
  fi
  trap 'echo "demo: something failed; the server log is $run/server.log, remove everything with: make demo-down" >&2' ERR

  title "A laboratory: a server and an internet, without a link to this machine's network"
  mkdir -p $run
  show atoll-lab up $lab
  echo "nameserver 203.0.113.1" > $run/resolv.conf
  atoll-lab forward $lab --listen 127.0.0.1:"$api_port" --to $server_addr:7000 --from internet
  atoll-lab forward $lab --listen 127.0.0.1:"$http_port" --to $server_addr:80 --from internet

  title "The platform: first user, then the server"
  in_server "$PWD/bin/atoll" init --data-dir $data --run-dir $run --username ada --email ada@example.test --token-file $run/token
  start_server
  show atoll login --url "$api_url" --token-file $run/token

  title "Three apps in one project, deployed from source"
  show atoll projects create shop
  local app
  for app in shop-catalog shop-gateway shop-worker; do
    show atoll create $app --project shop
  done
  show atoll -a shop-catalog scale web:0
  show atoll -a shop-worker scale web:0
  show atoll -a shop-gateway env set CATALOG_URL=http://api.shop-catalog.internal:3000
  show atoll -a shop-worker env set CATALOG_URL=http://api.shop-catalog.internal:3000
  show atoll -a shop-catalog deploy examples/shop/catalog
  show atoll -a shop-catalog scale api:1
  show atoll -a shop-gateway deploy examples/shop/gateway
  show atoll -a shop-worker deploy examples/shop/worker
  show atoll -a shop-worker scale worker:1

  title "Public: through the router, with the private catalog's data in it"
  show curl -sS -i "http://shop-gateway.$domain:$http_port/products"
  echo

  title "Private: two interfaces, names, TTL 5"
  show inside shop-gateway web-1 ip -brief -4 addr
  show inside shop-gateway web-1 dig +noall +answer api.shop-catalog.internal
  local long
  long=$(atoll -a shop-catalog names --json | jq -r '.[] | select(.short_name == "api.shop-catalog.internal.") | .name')
  show inside shop-gateway web-1 dig +noall +answer "$long"

  title "Three containers answer in turn"
  show atoll -a shop-catalog scale api:3
  show atoll -a shop-catalog ps
  echo
  echo "\$ 30 requests to the gateway, by the catalog container that answered:"
  for _ in $(seq 30); do curl -sS "http://shop-gateway.$domain:$http_port/products" | jq -r .catalog; done | sort | uniq -c

  title "The same name and port from the internet: refused"
  local address
  # Not the first: the other project's container has that address itself.
  address=$(inside shop-gateway web-1 dig +short api.shop-catalog.internal | sort | tail -n 1)
  refused from_internet dig +short +time=1 +tries=1 @$server_addr api.shop-catalog.internal
  refused from_internet curl -sS -m 2 "http://$server_addr:3000/products"
  refused from_internet curl -sS -m 2 "http://$address:3000/products"
  show from_internet curl -sS -m 5 -o /dev/null -w '%{http_code}\n' -H "Host: shop-catalog.$domain" "http://$server_addr/"

  title "The same name and port from a container of another project: refused"
  show atoll projects create elsewhere
  show atoll create stranger --project elsewhere
  show atoll -a stranger deploy examples/stranger
  refused inside stranger web-1 dig +short "$long"
  refused inside stranger web-1 dig +short api.shop-catalog.internal
  refused inside stranger web-1 curl -sS -m 2 "http://$address:3000/products"

  title "kill -9 of the server: nothing is lost"
  local before after lines gateway
  before=$(running)
  lines=$(worker_lines)
  gateway=$(pid_of shop-gateway web-1)
  show kill -9 "$(server_pid)"
  printf '\n$ inside shop-gateway web-1 curl -sS http://%s:3000/products    # with the server dead\n' "$address"
  nsenter --target "$gateway" --mount --net --uts -- curl -sS "http://$address:3000/products"
  printf '\n\n$ atoll server ... &    # again; a service manager does this within 100 ms\n'
  start_server
  after=$(running)
  [[ $before == "$after" ]] || die "containers changed: $before / $after"
  show atoll -a shop-catalog ps
  eventually 20 curl -fsS "http://shop-gateway.$domain:$http_port/products" || die "the gateway does not answer after the restart"
  show curl -sS "http://shop-gateway.$domain:$http_port/products"
  echo
  eventually 20 more_worker_lines "$lines" || die "the worker stopped"
  printf '\n$ the worker, which finds the catalog by name every 2 seconds, through the kill:\n'
  tail -n +$((lines)) "$(worker_log)"

  title "It is yours now"
  cat <<TXT
  in a browser    http://shop-gateway.$domain:$http_port/
  the client      export PATH=$PWD/bin:\$PATH
                  atoll login --url $api_url --token-file $run/token
                  atoll apps; atoll -a shop-worker logs -f; atoll -a shop-catalog names
  in a container  scripts/demo.sh inside shop-gateway web-1 bash
  on the server   bin/atoll-lab exec $lab server -- ip addr
  the internet    bin/atoll-lab exec $lab internet -- curl -H 'Host: shop-gateway.$domain' http://$server_addr/
  server log      $run/server.log
  remove it all   make demo-down
TXT
}

# refused COMMAND...: the command must fail or answer nothing.
refused() {
  printf '\n$ %s\n' "$*"
  local out
  if out=$("$@" 2>&1) && [[ -n $out && $out != *"no servers could be reached"* && $out != *"timed out"* ]]; then
    echo "$out"
    die "this should have been refused"
  fi
  echo "${out:-(no answer)}"
}

# running: every container with its id, to compare.
running() {
  local app
  for app in shop-catalog shop-gateway shop-worker; do
    atoll -a $app ps --json | jq -r '.[] | "\(.label) \(.id)"'
  done | sort
}

worker_log() { find $data/logs -name current.log -exec grep -l '\[worker-1\]' {} + | head -n 1; }
worker_lines() { wc -l < "$(worker_log)"; }
# more_worker_lines N: three successes since line N.
more_worker_lines() { [[ $(tail -n +$(($1 + 1)) "$(worker_log)" | grep -c 'stock is worth') -ge 3 ]]; }

case ${1:-} in
  up) up ;;
  down) down ;;
  inside) inside "${@:2}" ;;
  *) die "use: demo.sh up | down | inside APP CONTAINER COMMAND..." ;;
esac
