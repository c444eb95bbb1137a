# shellcheck shell=bash
# The processes of `make up`, as the chart runs them: some serve, some write Secrets and status. Each listens on loopback and
# knows of Kubernetes what the ServiceAccount of its part may know.
#
# shellcheck disable=SC2034,SC2154 # names come from paths.sh and from .postern/ports, or go there

# A debug build on a loaded machine; the usual is far below a second.
OPERATOR_READY_SECONDS=60
# Requests in flight are finished first.
OPERATOR_STOP_SECONDS=20

# draw_ports sets listen_ports, one for each replica, and health_ports and metrics_ports, one for each process.
draw_ports() {
	local ports all=${#operators[@]}
	read -ra ports < <(free_ports $((${#replicas[@]} + 2 * all)))
	health_ports=("${ports[@]:0:all}")
	metrics_ports=("${ports[@]:all:all}")
	listen_ports=("${ports[@]:2*all}")
}

# start_operators BINARY starts the processes that do not run, and anew those that run something else than BINARY.
start_operators() {
	local binary=$1 i
	for i in "${!operators[@]}"; do
		up_to_date "${operators[i]}" "$binary" || launch_operator "$i" "$binary"
	done
	for i in "${!operators[@]}"; do
		await_ready "$OPERATOR_READY_SECONDS" "$(handle "${operators[i]}")" "$(log_of "${operators[i]}")" answers "$i" ||
			die "${operators[i]} did not start"
	done
}

# The file that the process runs and the one on disk are the same only until the next build replaces it.
up_to_date() {
	local pid
	pid=$(pid_of "$(handle "$1")") && [[ /proc/$pid/exe -ef $2 ]]
}

# launch_operator NUMBER BINARY
launch_operator() {
	local name=${operators[$1]} part=control listen=()
	if (($1 < ${#replicas[@]})); then
		part=serve
		listen=(--listen "127.0.0.1:${listen_ports[$1]}")
	fi
	terminate "$OPERATOR_STOP_SECONDS" "$(handle "$name")"
	log "Starting $name"
	KUBECONFIG=$(kubeconfig_of "$part") spawn "$(handle "$name")" "$(log_of "$name")" "$2" "$part" \
		--issuer "$(issuer)" \
		"${listen[@]}" \
		--health-listen "127.0.0.1:${health_ports[$1]}" \
		--metrics-listen "127.0.0.1:${metrics_ports[$1]}" \
		--namespace "$namespace" \
		--replica-name "$name"
}

# answers NUMBER
answers() {
	curl -q --noproxy '*' --silent --fail --output /dev/null --max-time 5 "http://127.0.0.1:${health_ports[$1]}/readyz"
}

# account_of PART prints the ServiceAccount that the chart made for `serve` or `control`.
account_of() {
	kubectl get serviceaccounts --namespace "$namespace" \
		--selector "app.kubernetes.io/instance=$release,app.kubernetes.io/component=$1" \
		--output jsonpath='{.items[0].metadata.name}'
}

kubeconfig_of() { echo "$state/operator/$1.kubeconfig"; }

# base_urls SCHEME PORT…
base_urls() {
	local urls=("${@:2}")
	urls=("${urls[@]/#/$1:\/\/127.0.0.1:}")
	echo "${urls[*]}"
}

stop_operators() {
	local name handles=()
	for name in "${operators[@]}"; do
		handles+=("$(handle "$name")")
	done
	terminate "$OPERATOR_STOP_SECONDS" "${handles[@]}"
}

issuer() { echo "https://127.0.0.1:${listen_ports[0]}"; }

handle() { echo "$state/operator/$1"; }

log_of() { echo "$state/operator/$1.log"; }
