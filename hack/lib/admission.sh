# shellcheck shell=bash
# Waits until the API server admits our kinds, and holds them to the chart's policies. For some seconds after the chart
# was installed it may know the kinds, or the policies, and not yet both together; then it answers 503, or admits anything.
# Needs say.sh and kubectl.

# await_admission
await_admission() {
	local refusal tries
	for ((tries = 0; tries < 300; tries++)); do
		# Nothing of it is stored.
		if refusal=$(tried | kubectl create --dry-run=server --filename - 2>&1 >/dev/null); then
			forged | kubectl create --dry-run=server --filename - >/dev/null 2>&1 || return 0
			refusal="its policies are not in force"
		fi
		sleep 0.2
	done
	die "the API server does not admit objects of Postern: $refusal"
}

# What the policies refuse: it says that somebody else created it.
forged() {
	cat <<-YAML
		apiVersion: postern.dev/v1alpha1
		kind: ServiceUser
		metadata: {name: tried, namespace: default, annotations: {postern.dev/created-by: nobody}}
		spec: {location: /}
	YAML
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
