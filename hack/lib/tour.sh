# shellcheck shell=bash
# The output of hack/demo: numbered steps, sentences, commands with their output, and checked claims.
# Everything goes to standard output, in colour only where that is a terminal.

tour_step=0
tour_bold='' tour_dim='' tour_good='' tour_plain=''
if [[ -t 1 && -z ${NO_COLOR:-} && ${TERM:-dumb} != dumb ]]; then
	tour_bold=$'\e[1m' tour_dim=$'\e[2m' tour_good=$'\e[32m' tour_plain=$'\e[0m'
fi

# step TITLE
step() {
	((tour_step += 1))
	printf '\n%s%d. %s%s\n' "$tour_bold" "$tour_step" "$1" "$tour_plain"
}

# explain TEXT… prints a paragraph, broken into lines.
explain() {
	echo
	fold --spaces --width 100 <<<"$*" | sed 's/ *$//'
	echo
}

# run COMMAND shows a command line, runs exactly that, and shows what it prints.
run() {
	show "$1"
	eval "$1" 2>&1 | indent
}

# enter COMMAND shows a command line and runs it in this shell: what prints nothing, and changes the folder or a variable.
enter() {
	show "$1"
	eval "$1"
}

# refused COMMAND is a `run` that has to fail.
refused() {
	show "$1 # is refused"
	if eval "$1" 2>&1 | indent; then
		die "expected to be refused: $1"
	fi
}

show() { printf '%s\n' "$1" | sed "1s/^/    ${tour_bold}\$ /; 2,\$s/^/    ${tour_bold}/; s/\$/${tour_plain}/"; }

indent() { sed "s/^/    ${tour_dim}/; s/\$/${tour_plain}/"; }

# check CLAIM COMMAND… says CLAIM if the command succeeds, and ends the tour if it does not.
check() {
	local claim=$1
	shift
	"$@" || die "not true, but expected: $claim"
	printf '    %sok%s  %s\n' "$tour_good" "$tour_plain" "$claim"
}

# eventually SECONDS COMMAND… repeats a command until it succeeds.
eventually() {
	local deadline=$((SECONDS + $1))
	shift
	until "$@"; do
		((SECONDS < deadline)) || return 1
		sleep 0.1
	done
}
