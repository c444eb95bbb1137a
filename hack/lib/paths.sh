# shellcheck shell=bash
# What `make up` keeps in the checkout, shared by hack/up and hack/down.
#
#   .postern/env            export lines for a shell; written last
#   .postern/controlplane/  see hack/controlplane/lib/state_dir.sh
#   .postern/operator/      the processes: NAME.pid, NAME.log; a kubeconfig for each account: serve.kubeconfig, control.kubeconfig
#   .postern/bin/           the command `postern` of that shell, see command.sh
#   .postern/chart          what the chart was installed from
#   .postern/demo/          the files of the tour of `make demo`
#   .postern/ports  .postern/ca.crt
#
# shellcheck disable=SC2034 # for those who load this file
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
state=$root/.postern
controlplane=$state/controlplane

release=postern
namespace=postern-system
# What serves, what writes Secrets and status, and both.
replicas=(postern-0 postern-1)
controllers=(postern-control-0 postern-control-1)
operators=("${replicas[@]}" "${controllers[@]}")

# Prints the lines that keep a proxy from between a shell and 127.0.0.1. What else goes without a proxy, such as a cluster
# of yours, still does; of the two variables programs read one or the other.
without_proxy() {
	# shellcheck disable=SC2016 # for the shell that reads them
	echo 'export no_proxy=127.0.0.1,localhost,${no_proxy:-${NO_PROXY:-}}' 'NO_PROXY=127.0.0.1,localhost,${no_proxy:-${NO_PROXY:-}}'
}

# Only one of `make up` and `make down` at a time; the lock is on the checkout's folder and ends with this process.
lock_checkout() {
	local lock
	exec {lock}<"$root"
	flock --nonblock "$lock" && return
	log "Waiting for another make up or make down in this checkout"
	flock "$lock"
}
