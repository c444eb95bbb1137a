# shellcheck shell=bash
# Free TCP ports of 127.0.0.1.

# Ports are drawn from a range below the kernel's own (32768 and up), so that no outgoing connection can sit on one
# while its server is being restarted. Nothing reserves a drawn port: the caller must be ready to draw again.
PORT_FIRST=20000
PORT_COUNT=10000

# free_ports NUMBER prints that many different free ports, in one line.
free_ports() {
	local port drawn=()
	while ((${#drawn[@]} < $1)); do
		port=$((PORT_FIRST + SRANDOM % PORT_COUNT))
		[[ " ${drawn[*]} " == *" $port "* ]] || listening "$port" || drawn+=("$port")
	done
	echo "${drawn[@]}"
}

listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
