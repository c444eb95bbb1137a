# shellcheck shell=bash
# Packages of this machine's Debian or Ubuntu, downloaded without being installed. apt checks them against the release's
# signature. Which versions they are, is the release's choice: it keeps no others.

# release prints its name and the architecture: programs fit the libraries of the release that they were built for.
release() {
	(
		# shellcheck source=/dev/null
		source /etc/os-release
		echo "$ID-${VERSION_ID:-rolling}-$(dpkg --print-architecture)"
	)
}

# unpack HOW FOLDER PACKAGE… unpacks packages into FOLDER: HOW is `alone`, or `with_libraries`, with whatever they depend on
# and the machine lacks.
unpack() {
	local how=$1 new=$2 package apt=(apt-get)
	shift 2
	mkdir -p "$new/apt/lists/partial" "$new/apt/cache/archives/partial"
	(cd "$new" && download "$how" "$@") || die "apt-get could not download $*; what it said stands above"
	for package in "$new"/*.deb; do
		dpkg-deb --extract "$package" "$new"
	done
	rm -rf "$new"/*.deb "$new/apt"
}

# With the lists that the machine has, or else with separate lists, which do not need root.
download() {
	"$@" >/dev/null 2>&1 && return
	apt+=(-o "Dir::State::lists=$PWD/apt/lists" -o "Dir::Cache=$PWD/apt/cache")
	quietly "${apt[@]}" update && quietly "$@"
}

alone() { "${apt[@]}" download "$@"; }

with_libraries() {
	local plan names
	plan=$("${apt[@]}" --simulate --reinstall --no-install-recommends install "$@") || return
	mapfile -t names < <(awk '$1 == "Inst" { print $2 }' <<<"$plan")
	alone "${names[@]}"
}
