# shellcheck shell=bash
# Shared by the built-in buildpacks: how they speak, and the app's variables.

step() { printf -- '-----> %s\n' "$*"; }
info() { printf '       %s\n' "$*"; }
warn() { printf ' !     %s\n' "$*"; }
indent() { sed -u 's/^/       /'; }

# fail LINE...: ends the build; the last line should say what to do.
fail() {
	printf ' !\n'
	printf ' !     %s\n' "$@"
	printf ' !\n'
	exit 1
}

# load_env ENV_DIR: exports the app's variables, one file each, except those
# that would change how the build itself works.
load_env() {
	local file name
	for file in "$1"/*; do
		name=${file##*/}
		[[ -f $file && $name =~ ^[A-Za-z_][A-Za-z0-9_]*$ ]] || continue
		case $name in
		PATH | HOME | PWD | IFS | ENV | BASH_ENV | BASHOPTS | SHELLOPTS | UID | EUID | PPID) continue ;;
		GIT_DIR | GIT_WORK_TREE | CPATH | LIBRARY_PATH | TMPDIR | LD_*) continue ;;
		esac
		export "$name=$(<"$file")"
	done
}

# private_home: tools that keep files in $HOME must not find it in the app.
private_home() {
	HOME=$(mktemp -d)
	export HOME
	trap 'chmod -R u+w "$HOME"; rm -rf "$HOME"' EXIT
}

# write_release BUILD_DIR [COMMAND]: what bin/release will print; with a
# COMMAND, that is the default web process (BU-18).
write_release() {
	mkdir -p "$1/.atoll"
	if [[ -n ${2:-} ]]; then
		printf -- "---\ndefault_process_types:\n  web: '%s'\n" "${2//\'/\'\'}"
	else
		printf -- '--- {}\n'
	fi >"$1/.atoll/release.yml"
}

# print_release BUILD_DIR
print_release() {
	if [[ -f $1/.atoll/release.yml ]]; then
		cat "$1/.atoll/release.yml"
	else
		printf -- '--- {}\n'
	fi
}
