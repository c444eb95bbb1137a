# shellcheck shell=bash
# The demo on a cluster that is there already: the chart installed by Helm without pods, its processes on this machine with
# the tokens of the chart's ServiceAccounts. No image is needed, and afterwards all of it is removed.
#
# shellcheck disable=SC2034,SC2154 # names come from paths.sh and go to replicas.sh

# What the tour applies.
demo_examples=("$root"/examples/{invoice-sync,nightly-report}.yaml)

# start_elsewhere CONTEXT FOLDER exports what `make up` would write to .postern/env.
start_elsewhere() {
	local binary part
	need kubectl helm curl setsid
	state=$2
	install -d -m 700 "$state/operator"
	kubectl config view --context "$1" --minify --flatten --raw >"$state/kubeconfig"
	export KUBECONFIG=$state/kubeconfig
	must_be_free
	binary=$("$here/build")
	draw_ports
	installed_elsewhere=yes
	log "Installing the chart with Helm in the cluster of context $1"
	quietly helm upgrade --install "$release" "$root/charts/postern" --namespace "$namespace" --create-namespace \
		--set-string issuer="$(issuer)" --set replicaCount=0,control.replicaCount=0,crds.keep=false
	for part in serve control; do write_account_kubeconfig "$part"; done
	start_operators "$binary"
	await_admission
	kubectl get configmap postern-ca --namespace "$namespace" --output jsonpath='{.data.ca\.crt}' >"$state/ca.crt"
	# shellcheck source=/dev/null
	source <(without_proxy)
	export POSTERN_CA=$state/ca.crt POSTERN_REPLICAS
	POSTERN_REPLICAS=$(base_urls https "${listen_ports[@]}")
}

# The demo removes all that it makes, so none of these objects may exist before.
must_be_free() {
	local taken
	taken=$(existing) || die "could not ask the cluster what it has of what the demo makes; what kubectl said stands above"
	[[ -z $taken ]] || die "the demo makes and removes these, but they exist already: ${taken//$'\n'/ }"
}

# Objects of our own kinds cannot be asked for before their definitions are there; without these there are none.
existing() {
	{
		kubectl get namespace "$namespace" --ignore-not-found --output name &&
			kubectl get --filename "$root/crds" --ignore-not-found --output name &&
			examples_of_other_kinds | kubectl get --filename - --ignore-not-found --output name
	} | sort --unique
}

examples_of_other_kinds() {
	awk 'BEGIN { RS = "\n---\n" } !/(^|\n)apiVersion: postern\.dev\// { print "---\n" $0 }' "${demo_examples[@]}"
}

# write_account_kubeconfig PART: that of the context, with the chart's ServiceAccount for this part instead of its user.
write_account_kubeconfig() {
	local file token
	file=$(kubeconfig_of "$1")
	token=$(kubectl create token "$(account_of "$1")" --namespace "$namespace" --duration 8h)
	cp "$KUBECONFIG" "$file"
	kubectl --kubeconfig "$file" config set-context --current --user postern >/dev/null
	kubectl --kubeconfig "$file" config unset users >/dev/null
	sed -i '/^users:/d' "$file"
	printf 'users:\n- name: postern\n  user:\n%s\n' "$(token_credentials "$token")" >>"$file"
}

# begin_examples says that what `examples` makes is the demo's from now on.
begin_examples() { examples_begun=yes; }

# The examples go first: with them the operator's namespace and the definitions have nothing left that depends on them.
# Only what the demo began to make is removed: other objects may be the user's.
clean_elsewhere() {
	[[ -n ${installed_elsewhere:-} ]] || return 0
	log "Removing everything from the cluster again"
	[[ -z ${examples_begun:-} ]] ||
		kubectl delete "${demo_examples[@]/#/--filename=}" --ignore-not-found >/dev/null || true
	stop_operators || true
	quietly helm uninstall "$release" --namespace "$namespace" --ignore-not-found || true
	kubectl delete namespace "$namespace" --ignore-not-found >/dev/null || true
}
