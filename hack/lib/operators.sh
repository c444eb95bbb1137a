# shellcheck shell=bash
# The replicas of `make up`: processes on loopback that know of Kubernetes what the chart's ServiceAccount may know.
#
# shellcheck disable=SC2154 # names come from local.sh and from .postern/ports

# A debug build on a loaded machine; the usual is far below a second.
OPERATOR_READY_SECONDS=60
# Requests in flight are finished first.
OPERATOR_STOP_SECONDS=20

# start_operators BINARY starts the replicas that do not run, and anew those that run something else than BINARY.
start_operators() {
	local binary=$1 i
	for i in "${!replicas[@]}"; do
		up_to_date "${replicas[i]}" "$binary" || launch_operator "$i" "$binary"
	done
	for i in "${!replicas[@]}"; do
		await_ready "$OPERATOR_READY_SECONDS" "$(handle "${replicas[i]}")" "$(log_of "${replicas[i]}")" answers "$i" ||
			die "${replicas[i]} did not start"
	done
}

# The file that the process runs and the one on disk are the same only until the next build replaces it.
up_to_date() {
	local pid
	pid=$(pid_of "$(handle "$1")") && [[ /proc/$pid/exe -ef $2 ]]
}

# launch_operator NUMBER BINARY
launch_operator() {
	local name=${replicas[$1]}
	terminate "$OPERATOR_STOP_SECONDS" "$(handle "$name")"
	say "Starting $name"
	KUBECONFIG=$state/operator/kubeconfig spawn "$(handle "$name")" "$(log_of "$name")" "$2" run \
		--issuer "$(issuer)" \
		--listen "127.0.0.1:${listen_ports[$1]}" \
		--metrics-listen "127.0.0.1:${metrics_ports[$1]}" \
		--namespace "$namespace" \
		--replica-name "$name"
}

# answers NUMBER
answers() {
	curl -q --noproxy '*' --silent --fail --output /dev/null --max-time 5 "http://127.0.0.1:${metrics_ports[$1]}/readyz"
}

stop_operators() {
	local name handles=()
	for name in "${replicas[@]}"; do
		handles+=("$(handle "$name")")
	done
	terminate "$OPERATOR_STOP_SECONDS" "${handles[@]}"
}

issuer() { echo "https://127.0.0.1:${listen_ports[0]}"; }

handle() { echo "$state/operator/$1"; }

log_of() { echo "$state/operator/$1.log"; }
