# shellcheck shell=bash
# The folder of one control plane: what is in it, how it is made and removed.
#
#   .controlplane     written first: the files below, in a folder that has it, are ours to remove
#   env               export lines for a shell; written last: a folder that has it is complete
#   kubeconfig        admin of the cluster
#   audit.log         one JSON line for each request, see audit-policy.yaml
#   logs/NAME.log     what each component prints
#   run/NAME.pid      each component's process id
#   bin/              link to the programs
#   pki/  etcd/  settings  controllers.kubeconfig
#
# shellcheck disable=SC2154 # here is the folder above this one
# shellcheck source-path=SCRIPTDIR source=../../lib/log.sh
source "$here/../lib/log.sh"
# shellcheck source-path=SCRIPTDIR source=../../lib/process.sh
source "$here/../lib/process.sh"
# shellcheck source-path=SCRIPTDIR source=../../lib/ports.sh
source "$here/../lib/ports.sh"
# shellcheck source-path=SCRIPTDIR source=../../lib/kubeconfig.sh
source "$here/../lib/kubeconfig.sh"
# shellcheck source-path=SCRIPTDIR source=pki.sh
source "$here/lib/pki.sh"

# open_folder FOLDER sets dir and, once the folder is prepared, its settings. The lock, on the folder itself, makes a
# start and a stop that meet happen one after the other; it ends with this process. Fails if there is no such folder,
# or not any more when the lock is ours.
open_folder() {
	local lock
	dir=$(realpath -m "$1")
	[[ -d $dir ]] && exec {lock}<"$dir" && flock "$lock" && [[ -d $dir ]] || return
	# shellcheck source=/dev/null
	! prepared || source "$dir/settings"
}

prepared() { [[ -e $dir/env ]]; }

# Everything that can be made before a process runs: others can be given the kubeconfig now and meet the server later.
prepare_folder() {
	local bin
	bin=$("$here/build")
	umask 077 # an admin's key is among the files
	remove_files
	[[ -z $(ls -A "$dir") ]] || die "neither empty nor a control plane: $dir"
	touch "$dir/.controlplane"
	mkdir "$dir/run" "$dir/logs"
	ln -s "$bin" "$dir/bin"
	make_pki "$dir/pki"
	choose_ports
	write_env
}

# Draws the ports and writes down what depends on them.
choose_ports() {
	read -r etcd_port etcd_http_port apiserver_port < <(free_ports 3)
	apiserver_args=${POSTERN_APISERVER_ARGS:-}
	declare -p etcd_port etcd_http_port apiserver_port apiserver_args | sed 's/^declare -- //' >"$dir/settings"
	write_kubeconfig admin "$dir/kubeconfig"
	write_kubeconfig controllers "$dir/controllers.kubeconfig"
}

# write_kubeconfig CERTIFICATE FILE
write_kubeconfig() {
	kubeconfig "https://127.0.0.1:$apiserver_port" "$dir/pki/ca.crt" \
		"$(certificate_credentials "$dir/pki/$1.crt" "$dir/pki/$1.key")" >"$2"
}

write_env() {
	local kubeconfig=$dir/kubeconfig bin=$dir/bin audit_log=$dir/audit.log
	{
		echo "export KUBECONFIG=${kubeconfig@Q}"
		echo "export PATH=${bin@Q}:\"\$PATH\""
		echo "export POSTERN_AUDIT_LOG=${audit_log@Q}"
	} >"$dir/env"
}

remove_folder() {
	remove_files
	rmdir --ignore-fail-on-non-empty "$dir"
}

# Removes what the functions above and the components made, be it half of it, and nothing else: a wrong argument must
# not cost anybody a file.
remove_files() {
	[[ -e $dir/.controlplane ]] || return 0
	rm -rf "${dir:?}"/{bin,pki,etcd,logs,run,env,settings,kubeconfig,controllers.kubeconfig,audit.log}
	rm "$dir/.controlplane"
}
