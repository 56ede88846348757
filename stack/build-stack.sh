#!/usr/bin/env bash
# Makes the stack image "atoll-12" from Debian 12 packages: no registry and no
# account. Run with --help for how to use it.
set -euo pipefail

readonly STACK=atoll-12
readonly SUITE=bookworm
readonly APP_UID=10000 # user "app": owns /app, runs apps and builds
readonly KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
readonly DEBIAN=http://ftp.debian.org/debian
readonly DEBIAN_SECURITY=http://security.debian.org/debian-security

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly HERE
readonly REPO=$HERE/..
work='' builder=''

usage() {
	cat <<'EOF'
Usage: stack/build-stack.sh OUTDIR

Writes OUTDIR/atoll-12.oci, an OCI image layout with two images:

  atoll.local/stack/atoll-12:run     what apps run on       [base layer]
  atoll.local/stack/atoll-12:build   what buildpacks run in [base layer, tools layer]

Does nothing when OUTDIR already has the stack of this script and these
package lists; to get newer packages, remove OUTDIR/atoll-12.oci. Needs root, a
Debian mirror, and about 3 GB of free space in OUTDIR while it works.

Environment:
  ATOLL_DEBIAN_MIRROR           Debian mirror (default: the host's own when the
                                host is Debian 12, else http://ftp.debian.org/debian)
  ATOLL_DEBIAN_SECURITY_MIRROR  the same for security updates
  ATOLL_STACK_TOOL              a built cmd/atoll-stack (default: built with `go`)
  SOURCE_DATE_EPOCH             newest time stamp in the layers (default: the
                                date of the mirror's package lists)
EOF
}

main() {
	case "${1:-}" in
	--inside)
		work=$ATOLL_STACK_WORK
		build "$2" "$3"
		exit 0
		;;
	-h | --help)
		usage
		exit 0
		;;
	"" | -*)
		usage >&2
		exit 2
		;;
	esac
	mkdir -p "$1"
	local out
	out=$(cd "$1" && pwd)
	local inputs
	inputs=$(inputs_hash)

	if up_to_date "$out" "$inputs"; then
		say "$out/$STACK.oci is up to date"
		exit 0
	fi
	check_host "$out"

	# Two builds into one folder take turns; the second then finds it done.
	# Whatever the build starts inherits the lock, so holding it means that
	# nothing of a killed run is alive any more.
	exec 9>"$out/.lock"
	flock --nonblock 9 || {
		say "another build works in $out; waiting for it"
		flock 9
	}
	if up_to_date "$out" "$inputs"; then
		say "$out/$STACK.oci was just built"
		exit 0
	fi
	rm -rf --one-file-system "$out"/.work.* # of killed runs

	# The work is done in mount and process namespaces of its own: however it
	# ends, kill -9 included, no mount and no process of it stays behind.
	work=$(mktemp -d "$out/.work.XXXXXX")
	trap clean_up EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	ATOLL_STACK_WORK=$work setpriv --pdeathsig KILL \
		unshare --mount --pid --fork --kill-child --mount-proc --propagation private \
		-- bash "${BASH_SOURCE[0]}" --inside "$out" "$inputs" &
	builder=$!
	wait "$builder"
}

# clean_up ends the builder, when it still runs, and removes its files.
clean_up() {
	local code=$?
	kill -KILL "$builder" 2>/dev/null || true
	wait "$builder" 2>/dev/null || true
	rm -rf --one-file-system "$work"
	exit "$code"
}

build() {
	local out=$1 inputs=$2 started=$SECONDS
	build_tool &
	local tool_job=$!
	make_base
	pack "$work/base" "$work/base.tar" &
	local pack_job=$!
	make_tools
	wait "$tool_job" || die "cannot build cmd/atoll-stack, see above"
	wait "$pack_job" || die "cannot pack the base layer, see above"

	say "writing the images"
	"$work/atoll-stack" -base "$work/base.tar" -tools "$work/tools.tar" \
		-stack "$STACK" -inputs "$inputs" -epoch "$(epoch)" -out "$out/$STACK.oci"
	say "$out/$STACK.oci is ready after $((SECONDS - started)) s," \
		"$(du -sm "$out/$STACK.oci" | cut -f1) MB"
}

# make_base makes the root file system of the run image in $work/base.
make_base() {
	local mirror security
	mirror=$(mirror_for "$SUITE" "${ATOLL_DEBIAN_MIRROR:-}" "$DEBIAN")
	security=$(mirror_for "$SUITE-security" "${ATOLL_DEBIAN_SECURITY_MIRROR:-}" "$DEBIAN_SECURITY")
	say "base layer: Debian 12 ($(packages run.packages | wc -w) packages and what they need) from $mirror"
	write_sources "$mirror" "$security" >"$work/sources.list"
	write_dpkg_options >"$work/dpkg.cfg"

	local proxy=()
	mapfile -t proxy < <(proxy_options)
	mmdebstrap --mode=root --variant=minbase --quiet --format=directory \
		"${proxy[@]}" \
		--hook-dir=/usr/share/mmdebstrap/hooks/maybe-merged-usr \
		--aptopt='Apt::Install-Recommends "false"' \
		--aptopt='Acquire::Languages "none"' \
		--dpkgopt="$work/dpkg.cfg" \
		--include="$(packages run.packages | paste -sd,)" \
		--customize-hook="sed -n 's/^Date: //p' \"\$1\"/var/lib/apt/lists/*InRelease > '$work/dates'" \
		--customize-hook="chroot \"\$1\" groupadd --gid $APP_UID app" \
		--customize-hook="chroot \"\$1\" useradd --uid $APP_UID --gid app --home-dir /app --shell /bin/bash --no-log-init app" \
		--customize-hook="install -d -m 0755 -o $APP_UID -g $APP_UID \"\$1/app\"" \
		"$SUITE" "$work/base" "$work/sources.list" >"$work/base.log" 2>&1 ||
		die_with_log "$work/base.log" "cannot install the run packages; is the mirror reachable and the list $HERE/run.packages right?"

	rm -f "$work"/base/etc/apt/sources.list.d/*
	write_sources "$DEBIAN" "$DEBIAN_SECURITY" | sed '/backports/d' >"$work/base/etc/apt/sources.list"
	# The container engine mounts its own over these.
	local file
	for file in resolv.conf hostname hosts; do
		: >"$work/base/etc/$file"
	done
	tidy "$work/base"
}

# make_tools installs the build packages on an overlay over the base, so that
# what they change is the tools layer and the base is shared.
make_tools() {
	say "tools layer: $(packages build.packages | wc -w) packages and what they need"
	local root=$work/merged
	mkdir "$work/upper" "$work/overlay" "$root"
	# No directory renames and no metadata-only copies: neither can be said
	# in an OCI layer.
	mount -t overlay overlay -o "redirect_dir=off,metacopy=off,index=off,lowerdir=$work/base,upperdir=$work/upper,workdir=$work/overlay" "$root" ||
		die "cannot mount an overlay in $work; choose an OUTDIR on a plain disk file system (ext4, xfs)"
	mount -t proc proc "$root/proc"
	mount --bind /etc/resolv.conf "$root/etc/resolv.conf"
	mount --bind "$work/sources.list" "$root/etc/apt/sources.list"
	# These two exist during the installation only.
	printf 'force-unsafe-io\n' >"$root/etc/dpkg/dpkg.cfg.d/atoll-build"
	printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d" # starts no service
	chmod +x "$root/usr/sbin/policy-rc.d"

	local list=()
	mapfile -t list < <(packages build.packages)
	in_chroot "$root" bash -euc '
		apt-get update
		apt-get install --yes --no-install-recommends "$@"
	' - "${list[@]}" >"$work/tools.log" 2>&1 ||
		die_with_log "$work/tools.log" "cannot install the build packages; is the list $HERE/build.packages right?"

	precompile_go "$root"

	rm "$root/etc/dpkg/dpkg.cfg.d/atoll-build" "$root/usr/sbin/policy-rc.d"
	umount "$root/etc/apt/sources.list" "$root/etc/resolv.conf" "$root/proc"
	tidy "$root"
	umount "$root"
	pack "$work/upper" "$work/tools.tar"
}

# precompile_go ROOT: compiles what nearly every Go service uses of the standard
# library, with the flags of the Go buildpack, which starts a new app's build
# cache from it. That saves half a minute on the first deployment of an app; a
# cache that apps share could not be trusted.
precompile_go() {
	local cache=/usr/share/atoll/go-build
	say "compiling Go's standard library"
	in_chroot "$1" env GOCACHE=$cache GOTOOLCHAIN=local GOFLAGS=-modcacherw go build -trimpath \
		archive/tar compress/gzip crypto/tls database/sql embed encoding/csv encoding/json \
		encoding/xml expvar html/template log/slog net/http/httputil net/http/pprof \
		os/exec os/signal testing >"$work/go.log" 2>&1 ||
		die_with_log "$work/go.log" "cannot compile Go's standard library"
	rm -f "$1$cache"/*.txt
	# Each entry ends with the time it was made: the same in every build.
	find "$1$cache" -name '*-a' -exec sed -i -E "s/ +[0-9]+\$/ $(printf '%20s' "$(epoch)000000000")/" {} +
}

# in_chroot ROOT COMMAND...: with a clean environment but for proxies.
in_chroot() {
	local root=$1
	shift
	env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
		HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
		${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} \
		chroot "$root" "$@"
}

# tidy removes what is of no use in an image or differs from build to build.
tidy() {
	local root=$1
	rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/* "$root"/var/cache/debconf/* \
		"$root"/var/cache/ldconfig/* "$root"/var/log/* "$root"/tmp/* "$root"/run/* \
		"$root"/var/lib/dpkg/*-old "$root"/etc/*- "$root"/etc/machine-id \
		"$root"/var/lib/dbus/machine-id "$root"/root/.[!.]*
}

# pack DIR FILE: a tar of DIR. atoll-stack makes a layer of it: it sets the
# time stamps, drops set-user-id bits and device nodes, and turns the
# overlay's whiteouts into those of OCI.
pack() {
	tar --directory="$1" --create --file="$2" --format=pax --numeric-owner --sort=name \
		--one-file-system --sparse-version=1.0 --exclude='./dev/*' --exclude='./proc/*' --exclude='./sys/*' \
		--xattrs --xattrs-include='trusted.overlay.*' .
}

build_tool() {
	if [[ -n "${ATOLL_STACK_TOOL:-}" ]]; then
		cp "$ATOLL_STACK_TOOL" "$work/atoll-stack"
	else
		(cd "$REPO" && go build -o "$work/atoll-stack" ./cmd/atoll-stack)
	fi
}

# epoch is the newest time stamp allowed in the layers. The date of the
# package lists is newer than every file in the packages, so clamping to it
# leaves Python's compiled files valid, and the same mirror state gives the
# same layers.
epoch() {
	if [[ -n "${SOURCE_DATE_EPOCH:-}" ]]; then
		echo "$SOURCE_DATE_EPOCH"
		return
	fi
	local line
	while read -r line; do
		date --date="$line" +%s
	done <"$work/dates" | sort -n | tail -1
}

# mirror_for RELEASE WANTED DEFAULT: which mirror to take RELEASE from.
mirror_for() {
	local release=$1 wanted=$2 default=$3 hosts_own
	if [[ -n "$wanted" ]]; then
		echo "${wanted%/}"
		return
	fi
	hosts_own=$(apt-get indextargets --format "\$(RELEASE) \$(REPO_URI)" 'Created-By: Packages' 2>/dev/null |
		awk -v release="$release" '$1 == release && $2 ~ /debian/ { sub("/$", "", $2); print $2; exit }') || true
	echo "${hosts_own:-$default}"
}

write_sources() {
	local mirror=$1 security=$2
	cat <<EOF
deb [signed-by=$KEYRING] $mirror $SUITE main
deb [signed-by=$KEYRING] $mirror $SUITE-updates main
deb [signed-by=$KEYRING] $mirror $SUITE-backports main
deb [signed-by=$KEYRING] $security $SUITE-security main
EOF
}

# write_dpkg_options keeps documentation out, also of the tools layer.
write_dpkg_options() {
	cat <<'EOF'
path-exclude=/usr/share/doc/*
path-include=/usr/share/doc/*/copyright
path-exclude=/usr/share/man/*
path-exclude=/usr/share/info/*
path-exclude=/usr/share/lintian/*
path-exclude=/usr/share/locale/*
EOF
}

# proxy_options passes the proxy of the host's apt on to mmdebstrap.
proxy_options() {
	local scheme value
	for scheme in http https; do
		value=$(apt-config shell v "Acquire::$scheme::Proxy" | sed "s/^v='\(.*\)'$/\1/")
		if [[ -n "$value" ]]; then
			printf -- '--aptopt=Acquire::%s::Proxy "%s"\n' "$scheme" "$value"
		fi
	done
}

# packages FILE: the package names of a list, without its comments.
packages() { sed -e 's/#.*//' -e '/^[[:space:]]*$/d' "$HERE/$1"; }

# inputs_hash names what the stack is made from; it is written into the layout.
inputs_hash() {
	(
		cd "$REPO"
		find stack/build-stack.sh stack/*.packages cmd/atoll-stack/*.go ! -name '*_test.go' -print0 |
			sort -z | xargs -0 sha256sum
	) | sha256sum | cut -c1-64
}

up_to_date() { grep -qsF "$2" "$1/$STACK.oci/index.json"; }

check_host() {
	[[ $EUID -eq 0 ]] || die "run this as root: it installs Debian packages into a root file system"
	local missing=() tool
	for tool in mmdebstrap:mmdebstrap unshare:util-linux setpriv:util-linux flock:util-linux tar:tar; do
		command -v "${tool%%:*}" >/dev/null || missing+=("${tool##*:}")
	done
	[[ -r $KEYRING ]] || missing+=(debian-archive-keyring)
	if ((${#missing[@]})); then
		die "missing tools; install them with: apt-get install --yes ${missing[*]}"
	fi
	[[ -n "${ATOLL_STACK_TOOL:-}" ]] || command -v go >/dev/null ||
		die "missing Go: install it, or set ATOLL_STACK_TOOL to a built cmd/atoll-stack"
	local fs
	fs=$(stat --file-system --format=%T "$1")
	[[ $fs != overlayfs && $fs != nfs ]] ||
		die "$1 is on $fs, where an overlay cannot keep its changes; choose an OUTDIR on a disk file system (ext4, xfs)"
}

say() { printf '%s\n' "-----> $*"; }

die() {
	printf 'build-stack: %s\n' "$*" >&2
	exit 1
}

die_with_log() {
	tail -n 30 "$1" >&2
	die "$2"
}

main "$@"
