#!/usr/bin/env bash
# Connections lost while servers restart, without us, with net.ipv4.tcp_migrate_req=1 alone, with
# the selector, and with the selector and an anchor: a table, and build/bench/migrate_restart.json.
#
# usage: migrate_restart.sh [--restarts N] [--conns N] [--modes "none sysctl ..."] [CASE]...
# Arguments may be in $BENCH_ARGS too, for make. Without cases: all of them.
# Exit status: 1 if a case could not be run, whatever it lost.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
BUILD=${BUILD:-build}
[[ $BUILD == /* ]] || BUILD=$PWD/$BUILD
ROOT=$PWD KCMTOOL=${KCMTOOL:-$BUILD/kcmtool}
export KCM_TEST_RUN=${KCM_TEST_RUN:-$$-$RANDOM}

RESTARTS=20 MODES="none sysctl bpf anchor" MIG_CONNS=200000 MIG_TIMEOUT=5
# shellcheck disable=SC2086
set -- ${BENCH_ARGS:-} "$@"
while (($#)); do
	case $1 in
	--restarts) RESTARTS=$2 ;;
	--conns) MIG_CONNS=$2 ;;
	--modes) MODES=$2 ;;
	--help) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"; exit 0 ;;
	-*)
		echo "migrate_restart.sh: $1: no such option" >&2
		exit 2
		;;
	*) break ;;
	esac
	shift 2
done
MIG_BETWEEN=$((MIG_CONNS / (RESTARTS + 1) + 1))

# shellcheck source=tests/e2e/migrate_kit.bash
source tests/e2e/migrate_kit.bash
(($#)) || set -- "${RESTART_CASES[@]}"

has_migrate() { "$KCMTOOL" help migrate >/dev/null 2>&1; }

# What a case has lost of how many, and how: "50.8 per 100k (rst_before 12)".
cell() { # JSON
	jq -r 'def ways: to_entries | map(select(.value > 0) | "\(.key) \(.value)") | join(", ");
		if .lost == 0 then "**0** of \(.total)"
		elif .lost * 100 > .total then
			"\(.lost * 1000 / .total | round / 10) % of \(.total) (\(.ends | ways))"
		else "\(.lost * 1000000 / .total | round / 10) per 100k of \(.total) (\(.ends | ways))" end +
		if .killed > 0 then "; \(.killed) with the killed" else "" end' <<<"$1"
}

row() { # NAME
	local mode result cells=()
	for mode in "${modes[@]}"; do
		if [[ $mode == bpf || $mode == anchor ]] && ! has_migrate; then
			cells+=("-")
			continue
		fi
		migrate_begin
		if result=$(restart_case "$1" "$RESTARTS" "$mode"); then
			echo "$result" >>"$lines"
			cells+=("$(cell "$result")")
		else
			status=1
			cells+=("failed")
		fi
		migrate_end
	done
	printf '| %s ' "$1" "${cells[@]}"
	echo '|'
}

out=$BUILD/bench status=0
mkdir -p "$out"
lines=$(mktemp)
MIG_DIR=''
# shellcheck disable=SC2317 # called by trap
finish() {
	[[ ! -d $MIG_DIR ]] || migrate_end
	rm -f "$lines"
}
trap finish EXIT
trap 'exit 1' INT TERM

echo "$RESTARTS restarts, at least $MIG_CONNS connections, $MIG_CONC at a time; kernel $(uname -r)"
echo
read -ra modes <<<"$MODES"
printf '| %s ' case "${modes[@]}"
echo '|'
printf '|---%.0s' case "${modes[@]}"
echo '|'
for name; do
	lacks=$(case_lacks "$name")
	if [[ -n $lacks ]]; then
		echo "| $name | $lacks |"
		continue
	fi
	row "$name"
	jq -s --arg kernel "$(uname -r)" '{schema: 1, bench: "migrate_restart", kernel: $kernel,
		cases: .}' "$lines" >"$out/migrate_restart.json"
done
exit "$status"
