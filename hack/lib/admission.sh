# shellcheck shell=bash
# Waits until the API server admits our kinds and enforces the policies of the chart. For some seconds after the installation of
# the chart it may know only the kinds or only the policies. It then answers 503, or admits any object.
# Needs log.sh, paths.sh and kubectl.
#
# shellcheck disable=SC2154 # names come from paths.sh

# await_admission
await_admission() {
	local refusal tries
	for ((tries = 0; tries < 300; tries++)); do
		# A dry run stores nothing.
		if refusal=$(tried | kubectl create --dry-run=server --filename - 2>&1 >/dev/null); then
			if ! forgery_is_kept && operators_are_limited; then
				return 0
			fi
			refusal="its policies are not active yet"
		fi
		sleep 0.2
	done
	die "the API server does not admit objects of Postern: $refusal"
}

# Whether an object may name another creator. The policies reject that, or write the name of the requester.
forgery_is_kept() {
	local creator
	creator=$(forged | kubectl create --dry-run=server --filename - \
		--output 'jsonpath={.metadata.annotations.postern\.dev/created-by}' 2>/dev/null) || return 1
	[[ $creator == nobody ]]
}

forged() {
	cat <<-YAML
		apiVersion: postern.dev/v1alpha1
		kind: ServiceUser
		metadata: {name: tried, namespace: default, annotations: {postern.dev/created-by: nobody}}
		spec: {location: /}
	YAML
}

# Whether the policies refuse a Secret that the operator's own accounts would not deliver.
operators_are_limited() {
	local account
	while read -r account; do
		! kubectl create secret generic tried --namespace default --dry-run=server \
			--as "system:serviceaccount:$namespace:$account" >/dev/null 2>&1 || return 1
	done < <(kubectl get serviceaccounts --namespace "$namespace" --selector "app.kubernetes.io/instance=$release" \
		--output 'jsonpath={range .items[*]}{.metadata.name}{"\n"}{end}')
}

# An object of each kind.
tried() {
	local group='apiVersion: postern.dev/v1alpha1'
	cat <<-YAML
		{$group, kind: AccessGroup, metadata: {name: tried}, spec: {role: tried, location: /, permissions: [{audience: tried, scopes: [tried]}]}}
		---
		{$group, kind: ServiceUser, metadata: {name: tried, namespace: default}, spec: {location: /}}
		---
		{$group, kind: Application, metadata: {name: tried, namespace: default}, spec: {serviceUserRef: {name: tried}}}
		---
		{$group, kind: ClientSecret, metadata: {name: tried, namespace: default}, spec: {applicationRef: {name: tried}}}
	YAML
}
