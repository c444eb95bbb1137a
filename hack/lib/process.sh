# shellcheck shell=bash
# Processes that outlive the script that starts them.
#
# A process is known by a *handle*, a path without extension: HANDLE.pid holds its process id, HANDLE.started its
# start time in clock ticks since boot. Only both together name a process: a process id alone may by now belong to
# another process, which must not be signalled.

# spawn HANDLE LOG COMMAND… starts COMMAND in a new session, its output appended to LOG.
spawn() {
	local handle=$1 log=$2
	shift 2
	rm -f "$handle.pid" "$handle.started"
	setsid "$BASH" -c "$(declare -f started_at); $(declare -f detach); detach \"\$@\"" -- \
		"$handle" "$@" </dev/null >>"$log" 2>&1 &
	# The process introduces itself, so that it is known even if we are killed at this very moment.
	until [[ -s $handle.pid ]]; do
		kill -0 $! 2>/dev/null || return 1
		sleep 0.01
	done
}

# detach HANDLE COMMAND… runs inside the new process: it gives up whatever its caller had open (a lock, the pipe of a
# make that waits for its end), leaves its name, and becomes COMMAND.
detach() {
	local handle=$1 fd
	shift
	for fd in "/proc/$$/fd/"*; do
		fd=${fd##*/}
		((fd <= 2)) || exec {fd}>&-
	done
	# One that cannot be known could not be ended either.
	{ started_at $$ >"$handle.started" && echo $$ >"$handle.pid"; } || exit
	exec "$@"
}

# started_at PID prints when that process started; nothing, if it is gone or only waits to be reaped. One that still has
# threads is neither: its first thread may be done before the others, which hold its ports until then.
started_at() {
	local stat
	stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
	# The second field is the program's name in parentheses and may hold spaces: count from behind it.
	read -ra stat <<<"${stat##*) }"
	[[ ${stat[0]} != Z || ${stat[17]} -gt 1 ]] || return 1
	echo "${stat[19]}"
}

# pid_of HANDLE prints the process id; nothing, if the process does not run any more.
pid_of() {
	local pid started
	[[ -s $1.pid && -s $1.started ]] || return 1
	read -r pid <"$1.pid"
	read -r started <"$1.started"
	[[ $(started_at "$pid") == "$started" ]] || return 1
	echo "$pid"
}

running() { pid_of "$1" >/dev/null; }

# terminate SECONDS HANDLE… asks all of them to end, waits for them, and kills those that are left after SECONDS.
terminate() {
	local seconds=$1
	shift
	signal TERM "$@"
	await_end "$seconds" "$@" || kill_now "$@" || return
	rm -f "${@/%/.pid}" "${@/%/.started}"
}

kill_now() {
	signal KILL "$@"
	# Nothing can refuse; what takes time is the kernel giving back the memory.
	await_end 10 "$@"
}

# signal NAME HANDLE…
signal() {
	local name=$1 handle pid
	shift
	for handle in "$@"; do
		pid=$(pid_of "$handle") || continue
		kill "-$name" "$pid" 2>/dev/null || true
	done
}

# await_end SECONDS HANDLE… fails if one of them still runs after SECONDS.
await_end() {
	local deadline=$((SECONDS + $1)) handle
	shift
	for handle in "$@"; do
		while running "$handle"; do
			((SECONDS < deadline)) || return 1
			sleep 0.02
		done
	done
}

# await_ready SECONDS HANDLE LOG CHECK… waits until the command CHECK succeeds, and the process itself answers.
# It gives up when the process has ended or the time has passed, and then shows the end of its log.
await_ready() {
	local deadline=$((SECONDS + $1)) handle=$2 log=$3 name=${2##*/}
	shift 3
	until "$@" && running "$handle"; do
		if ! running "$handle"; then
			log "$name has ended; its log $log ends with:"
		elif ((SECONDS >= deadline)); then
			log "$name is not ready in time; its log $log ends with:"
		else
			sleep 0.05
			continue
		fi
		tail -n 8 "$log" >&2
		return 1
	done
}
