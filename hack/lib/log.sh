# shellcheck shell=bash
# Messages for people go to stderr: the stdout of a script in hack/ is its result, for another script to read.

log() { printf '%s\n' "$*" >&2; }

die() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

# need TOOL… ends with one clear line that names every tool that is missing.
need() {
	local tool missing=()
	for tool in "$@"; do
		command -v "$tool" >/dev/null || missing+=("$tool")
	done
	((${#missing[@]} == 0)) || die "not on the PATH, but needed: ${missing[*]}"
}

# quietly COMMAND… shows what COMMAND prints only if it fails.
quietly() {
	local output
	output=$("$@" 2>&1) || {
		printf '%s\n' "$output" >&2
		return 1
	}
}
