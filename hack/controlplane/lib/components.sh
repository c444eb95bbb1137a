# shellcheck shell=bash
# The three processes of a control plane: how each is started, when it is ready, how it is stopped.
#
# shellcheck disable=SC2154 # here, dir and what stands in its settings come from state_dir.sh
# shellcheck disable=SC2054 # the commas belong to flags

# In the order in which they are stopped.
# shellcheck disable=SC2034 # for those who load this file
components=(kube-controller-manager kube-apiserver etcd)

# What a loaded machine may need. The usual is 4 s for all of them together.
READY_SECONDS=120
# No client waits for an answer of a control plane that is being stopped.
STOP_SECONDS=5

# start_component NAME starts it unless it runs, and returns when it is ready.
start_component() { launch "$1" && await_component "$1"; }

await_component() {
	await_ready "$READY_SECONDS" "$dir/run/$1" "$dir/logs/$1.log" "$1_ready"
}

launch() {
	local flags=()
	running "$dir/run/$1" && return
	"$1_flags"
	# Memory is cheaper here than the time to collect garbage: a quarter of what a start costs.
	export GOGC=${GOGC:-400}
	spawn "$dir/run/$1" "$dir/logs/$1.log" "$dir/bin/$1" "${flags[@]}"
}

# stop_components NAME… in that order: the API server ends only slowly when its etcd is gone.
stop_components() {
	local name status=0
	for name in "$@"; do
		terminate "$STOP_SECONDS" "$dir/run/$name" || status=1
	done
	return "$status"
}

kill_component() { kill_now "$dir/run/$1"; }

# --- etcd

etcd_flags() {
	# Alone, it still wants an address for its peers; with port 0 the kernel picks one.
	local client=https://127.0.0.1:$etcd_port peer=https://127.0.0.1:0 pki=$dir/pki
	flags=(
		--data-dir="$dir/etcd"
		--name=postern --log-level=warn
		--listen-client-urls="$client" --advertise-client-urls="$client"
		# Sharing one port, HTTP would slow down what the API server speaks, gRPC.
		--listen-client-http-urls="https://127.0.0.1:$etcd_http_port"
		--listen-peer-urls="$peer" --initial-advertise-peer-urls="$peer" --initial-cluster="postern=$peer"
		--client-cert-auth --trusted-ca-file="$pki/ca.crt" --cert-file="$pki/etcd.crt" --key-file="$pki/etcd.key"
		--peer-client-cert-auth --peer-trusted-ca-file="$pki/ca.crt"
		--peer-cert-file="$pki/etcd.crt" --peer-key-file="$pki/etcd.key"
		# Its data need not survive the machine, only a killed process.
		--unsafe-no-fsync
	)
}

etcd_ready() { fetch etcd "https://127.0.0.1:$etcd_http_port/health"; }

# --- kube-apiserver

kube-apiserver_flags() {
	local pki=$dir/pki args
	# POSTERN_APISERVER_ARGS of this call counts, else that of the call that prepared the folder.
	read -ra args <<<"${POSTERN_APISERVER_ARGS-$apiserver_args}"
	flags=(
		--etcd-servers="https://127.0.0.1:$etcd_port" --etcd-cafile="$pki/ca.crt"
		--etcd-certfile="$pki/etcd.crt" --etcd-keyfile="$pki/etcd.key"
		--bind-address=127.0.0.1 --advertise-address=127.0.0.1 --secure-port="$apiserver_port"
		--cert-dir="$pki" --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key"
		--client-ca-file="$pki/ca.crt"
		--service-account-issuer=https://kubernetes.default.svc
		--service-account-key-file="$pki/serviceaccounts.pub"
		--service-account-signing-key-file="$pki/serviceaccounts.key"
		--service-cluster-ip-range=10.0.0.0/24
		# It refuses to write 127.0.0.1 into the endpoints of the Service `kubernetes`, which is not needed here.
		--endpoint-reconciler-type=none
		--authorization-mode=Node,RBAC
		--audit-policy-file="$here/audit-policy.yaml" --audit-log-path="$dir/audit.log"
		# Watches are ended when it stops; otherwise it would wait a minute for them to end.
		--shutdown-watch-termination-grace-period=1s
		# No rotation: tests count lines, and need all of them in one file.
		--audit-log-maxsize=0
		"${args[@]}"
	)
}

kube-apiserver_ready() { fetch admin "https://127.0.0.1:$apiserver_port/readyz"; }

# --- kube-controller-manager

kube-controller-manager_flags() {
	local config=$dir/controllers.kubeconfig
	# What makes a namespace usable, ends it again, collects garbage and fills the aggregated roles. No pod runs here.
	local controllers=garbage-collector-controller,namespace-controller,serviceaccount-controller
	controllers+=,root-ca-certificate-publisher-controller,clusterrole-aggregation-controller
	controllers+=,deployment-controller,replicaset-controller
	flags=(
		--kubeconfig="$config" --authentication-kubeconfig="$config" --authorization-kubeconfig="$config"
		--controllers="$controllers"
		--root-ca-file="$dir/pki/ca.crt" --service-account-private-key-file="$dir/pki/serviceaccounts.key"
		--use-service-account-credentials
		--leader-elect=false
		# It serves nothing that anybody reads here.
		--secure-port=0
	)
}

# It works when it has made the first ServiceAccount.
kube-controller-manager_ready() {
	fetch admin "https://127.0.0.1:$apiserver_port/api/v1/namespaces/default/serviceaccounts/default"
}

# fetch CERTIFICATE URL succeeds when the answer is 2xx, whatever proxy or curlrc this machine has.
fetch() {
	curl -q --noproxy '*' --silent --fail --output /dev/null --max-time 5 \
		--cacert "$dir/pki/ca.crt" --cert "$dir/pki/$1.crt" --key "$dir/pki/$1.key" "$2"
}
