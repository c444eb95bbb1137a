# shellcheck shell=bash
# What `make up` keeps in the checkout, shared by hack/up and hack/down.
#
#   .postern/env            export lines for a shell; written last
#   .postern/controlplane/  see hack/controlplane/lib/folder.sh
#   .postern/operator/      the replicas: NAME.pid, NAME.log, kubeconfig
#   .postern/chart          what the chart was installed from
#   .postern/ports  .postern/ca.crt
#
# shellcheck disable=SC2034 # for those who load this file
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
state=$root/.postern
controlplane=$state/controlplane

release=postern
namespace=postern-system
replicas=(postern-0 postern-1)

# Only one of `make up` and `make down` at a time; the lock is on the checkout's folder and ends with this process.
lock_checkout() {
	local lock
	exec {lock}<"$root"
	flock --nonblock "$lock" && return
	say "Waiting for another make up or make down in this checkout"
	flock "$lock"
}
