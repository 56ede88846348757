#!/usr/bin/env bash
# Runs tests in a virtual machine with a distribution's own kernel and systemd:
# there, control groups are of version 2, and nothing of this machine is in the
# way. It has no network card. They are compiled here.
#
#   scripts/vm.sh bookworm                        the parts that meet the kernel
#   scripts/vm.sh trixie ./internal/privnet ./e2e
#   scripts/vm.sh bookworm demo                   make demo, up to its table
#
# Needs root and a Debian mirror for the first run (kept in VM_DIR). VM_ACCEL=kvm
# makes it fast where the machine has that; VM_MEMORY is in MiB, VM_TIME seconds.
set -euo pipefail
cd "$(dirname "$0")/.."

suite=${1:-}
case $suite in
bookworm | trixie) shift ;;
*)
	sed -n '2,/^set -/s/^# \?//p' "$0" | head -n -1 >&2
	exit 2
	;;
esac
packages=("$@")
[[ $# -gt 0 ]] || packages=(./internal/namespace ./internal/privnet/... ./internal/outside ./internal/sandbox ./internal/discovery ./internal/engine/containerd)

cache=${VM_DIR:-/var/lib/atoll-cache/vm}/$suite
stack=${STACK_DIR:-/var/lib/atoll-cache/stack}
work=$(mktemp -d /var/tmp/atoll-vm.XXXXXX)
trap 'rm -rf "$work"' EXIT

need() {
	command -v "$1" >/dev/null && return
	echo "vm: installing $2"
	apt-get install -y -qq --no-install-recommends --no-remove "$2" >/dev/null
}

# system makes the disk of the distribution, with what scripts/setup.sh installs
# but the compiler of eBPF: what runs there is compiled here, and Debian 13 has
# no clang-14.
system() {
	[[ ! -e $cache/root.img ]] || return 0
	echo "vm: making a system of $suite"
	local packages
	packages=$(scripts/setup.sh list | tr ' ' '\n' | grep -v -e '^clang' -e '^llvm' | tr '\n' ',')
	mkdir -p "$cache" "$work/root"
	mmdebstrap --variant=minbase --quiet \
		--include="${packages}linux-image-amd64,systemd-sysv,dbus,udev,kmod,initramfs-tools,git,make,ca-certificates" \
		"$suite" "$work/root.tar" "$(mirror)"
	tar -C "$work/root" -xf "$work/root.tar"
	rm "$work/root.tar"
	cat >"$work/root/etc/systemd/system/atoll-vm.service" <<-'UNIT'
		[Service]
		Type=oneshot
		ExecStart=/bin/bash /work/run
		StandardOutput=file:/dev/ttyS1
		StandardError=file:/dev/ttyS1
		TasksMax=infinity
		[Unit]
		Requires=basic.target
		After=basic.target
		RequiresMountsFor=/work
		SuccessAction=poweroff-force
		FailureAction=poweroff-force
	UNIT
	printf '/dev/vda / ext4 defaults 0 1\n/dev/vdb /work ext4 defaults 0 1\n' >"$work/root/etc/fstab"
	mkdir -p "$work/root/work"
	cp "$work"/root/boot/vmlinuz-* "$cache/vmlinuz"
	cp "$work"/root/boot/initrd.img-* "$cache/initrd"
	mke2fs -q -t ext4 -d "$work/root" "$work/root.img" 24G
	mv "$work/root.img" "$cache/root.img"
	rm -rf "$work/root"
}

# mirror is the one this machine uses.
mirror() {
	local from
	from=$(apt-get indextargets --format "\$(RELEASE) \$(REPO_URI)" 'Created-By: Packages' 2>/dev/null |
		awk '$2 ~ /\/debian\/?$/ { print $2; exit }') || true
	echo "${from:-http://deb.debian.org/debian}"
}

# goods makes the disk with the commit, what is compiled of it, and the stack.
goods() {
	local dir=$work/goods wanted package file
	mkdir -p "$dir/stack" "$dir/tests" "$cache/../go"
	git clone -q . "$dir/atoll"
	cp -a "$(go env GOROOT)" "$dir/go"
	[[ ! -d $stack ]] || cp -a "$stack/." "$dir/stack"
	{
		echo 'export HOME=/root PATH=/work/go/bin:/usr/sbin:/usr/bin:/sbin:/bin GOROOT=/work/go'
		echo 'export GOFLAGS="-mod=vendor -trimpath" GOPROXY=off GOTOOLCHAIN=local GOCACHE=/work/cache STACK_DIR=/work/stack'
		echo 'uname -r; stat -f -c "control groups: %T" /sys/fs/cgroup; containerd --version; runc --version | head -n 1; nft --version'
		echo 'code=0'
	} >"$dir/run"
	(
		cd "$dir/atoll"
		GOCACHE=$(realpath "$cache/../go")
		export GOCACHE GOFLAGS='-mod=vendor -trimpath'
		go mod vendor
		CGO_ENABLED=0 go build -o bin/ ./cmd/...
		CGO_ENABLED=0 go build ./...
		for wanted in "${packages[@]}"; do
			if [[ $wanted == demo ]]; then
				echo 'cd /work/atoll && scripts/demo.sh up || code=1' >>"$dir/run"
				continue
			fi
			for package in $(go list "$wanted"); do
				file=tests/${package//\//_}
				go test -c -o "$dir/$file" "$package"
				[[ ! -e $dir/$file ]] || echo "cd /work/atoll/${package#*/*/*/} && { echo \"== $package\"; /work/$file -test.timeout 30m || code=1; }" >>"$dir/run"
			done
		done
		cp -a "$GOCACHE" "$dir/cache"
	)
	# The line tells how it ended; systemd does not.
	# shellcheck disable=SC2016
	printf 'echo "vm: exit code $code"\nsync\n' >>"$dir/run"
	mke2fs -q -t ext4 -d "$dir" "$work/goods.img" 40G
	rm -rf "$dir"
}

boot() {
	timeout "${VM_TIME:-3600}" qemu-system-x86_64 \
		-accel "${VM_ACCEL:-tcg}" -cpu max -smp 2 -m "${VM_MEMORY:-6144}" -nic none \
		-nodefaults -display none -serial "file:$work/kernel.log" -serial stdio \
		-kernel "$cache/vmlinuz" -initrd "$cache/initrd" \
		-append 'root=/dev/vda rw console=ttyS0 quiet systemd.unit=atoll-vm.service systemd.show_status=0' \
		-drive "file=$cache/root.img,format=raw,if=virtio,snapshot=on" \
		-drive "file=$work/goods.img,format=raw,if=virtio,cache=unsafe" </dev/null | sed -u "s/\r$//" | tee "$work/output"
	local code
	code=$(sed -n 's/^vm: exit code \([0-9]*\).*/\1/p' "$work/output" | tail -n 1)
	if [[ -z $code ]]; then
		echo "vm: the machine did not finish; the last lines of its kernel:" >&2
		tail -n 30 "$work/kernel.log" >&2
		exit 1
	fi
	exit "$code"
}

need qemu-system-x86_64 qemu-system-x86
need mmdebstrap mmdebstrap
need mke2fs e2fsprogs
system
goods
boot
