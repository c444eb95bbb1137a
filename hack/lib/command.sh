# shellcheck shell=bash
# The command `postern` of a shell that has sourced .postern/env.

# write_command FILE BINARY ISSUER writes it. It runs BINARY, but no part of an operator: with the kubeconfig of that shell,
# such a process would be one more replica of the installation.
write_command() {
	mkdir -p "${1%/*}"
	cat >"$1" <<-EOF
		#!/usr/bin/env bash
		binary=${2@Q}
		case \${1:-} in
		run | serve | control)
			echo "postern: \$1 would join the installation of make up: unset KUBECONFIG and start \$binary itself, with a cluster of your own" >&2
			exit 2
			;;
		explain) export POSTERN_ISSUER=\${POSTERN_ISSUER:-${3@Q}} ;;
		esac
		exec "\$binary" "\$@"
	EOF
	chmod +x "$1"
}
