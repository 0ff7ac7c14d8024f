#!/usr/bin/env bats
# migrate check: what it predicts of real sockets, and whether that comes true.
# shellcheck disable=SC2016,SC2153,SC2154 # variables of inner shells; ROOT; stderr of run --separate-stderr
bats_require_minimum_version 1.5.0
load common

PORT=18080

setup() {
	coproc PEER { exec unshare -n bash -c 'ip link set lo up && sysctl -qw net.ipv4.tcp_migrate_req=1 &&
		exec python3 "$0" "$1"' "$ROOT/tests/e2e/migrate_check_peer.py" "$PORT" 3>&-; }
	peer=$PEER_PID
	ask forget # it is there
}

teardown() {
	kill "$peer" 2>/dev/null || true
	wait "$peer" 2>/dev/null || true
	[[ -z ${CGROUP:-} ]] || rmdir "$CGROUP"
	nothing_pinned
}

ask() { # words...: the answer, JSON, in $A
	echo "$*" >&"${PEER[1]}"
	read -r -t 60 -u "${PEER[0]}" A
	[[ $A != *error* ]] || { echo "$*: $A" >&2 && return 1; }
}

there() { nsenter -t "$peer" -n "$@"; }

# finds STATUS JQ: the exit code of check, and what holds of its JSON; text has the same findings
finds() {
	run "-$1" --separate-stderr kcm -j migrate check --port "$PORT" --pid "$peer"
	[[ -z $stderr ]]
	jq -e '.schema == 1 and .port == '"$PORT"' and .protocol == "tcp" and .loss == ('"$1"' == 1)' <<<"$output"
	jq -e "$2" <<<"$output" || { jq . <<<"$output" >&2 && return 1; }
	local json=$output
	run "-$1" kcm migrate check --port "$PORT" --pid "$peer"
	# Half-open requests come to an end meanwhile: numbers may differ.
	output=$(sed -E 's/[0-9]+/N/g' <<<"$output")
	while IFS=$'\t' read -r severity what why; do
		grep -qE "^$severity +$what " <<<"$output"
		[[ $output == *"$why"* ]] || { echo "no '$why' in: $output" >&2 && return 1; }
	done < <(jq -r '.findings[] | [.severity, .what, .why] | @tsv' <<<"$json" | sed -E 's/[0-9]+/N/g')
}

# found SEVERITY WHAT: for the second argument of finds
found() { echo "any(.findings[]; .severity == \"$1\" and .what == \"$2\")"; }
worst() { echo ".findings[0] | .severity == \"$1\" and .what == \"$2\" and (.remedy | length > 0)"; }

served() { # N of those connected before
	ask serve
	jq -e ".served == $1" <<<"$A"
}

@test "nobody listens; one without SO_REUSEPORT; one alone" {
	finds 1 "$(worst loss listener) and (.why | contains(\"nobody listens\"))"
	ask open a reuseport=0 backlog=10
	ask connect 3
	finds 1 "($(worst loss reuseport)) and (.findings[0].why | contains(\"(3 now, and 0 half-open)\")) and
		(.findings[0].remedy | contains(\"--anchor\")) and (.findings | length == 1) and
		(.listeners[0] | .reuseport == false and .queue == 3 and .backlog == 10 and .pid == $peer and
			.command == \"python3\" and .listener == \"127.0.0.1:$PORT\")"
	ask close a
	ask open a
	finds 1 "($(worst loss alone)) and (.listeners[0].reuseport)"
}

@test "two listeners: without a selector and tcp_migrate_req what waits is lost, with it not" {
	ask open a
	ask connect 20
	ask open b
	finds 0 "($(worst warn migration)) and ($(found ok group)) and ([.listeners[].queue] | add == 20)"
	ask close a
	served 20
	ask forget
	there sysctl -qw net.ipv4.tcp_migrate_req=0
	ask open a
	ask close b
	ask connect 20
	ask open b
	finds 1 "($(worst loss migration)) and (.findings[0].remedy == \"kcmtool migrate attach --port $PORT\")"
	ask close a
	served 0
}

@test "another device: half-open connections are lost, as predicted" {
	ask open old dev=lo
	ask half 5
	ask open new
	finds 1 "($(worst loss device)) and all(.findings[]; .what != \"alone\") and
		any(.listeners[]; .half_open == 5)"
	ask close old
	served 0
	ask forget
	ask close new
	ask open old dev=lo
	ask half 5
	ask open new dev=lo
	finds 0 "($(found ok group))"
	ask close old
	served 5
}

@test "keys on the old one only, or on the new one only: lost, as predicted; on both: served" {
	local keys=("md5=1:md5:md5=0" "md5=0::md5=1") pair old md5 new
	for pair in "${keys[@]}"; do
		IFS=: read -r old md5 new <<<"$pair"
		ask open old "$old"
		# shellcheck disable=SC2086
		ask half 5 $md5
		ask open new "$new"
		finds 1 "($(worst loss md5)) and (.findings[0].why | startswith(\"1 of 2 listeners have it\"))"
		ask close old
		served 0
		ask forget
		ask close new
	done
	ask open old md5=1
	ask half 5 md5
	ask open new md5=1
	finds 0 "all(.findings[]; .what != \"md5\") and all(.listeners[]; .md5)"
	ask close old
	served 5
}

@test "SAVE_SYN, FASTOPEN, DEFER_ACCEPT on one of them: served, and said" {
	local kind
	for kind in save_syn:warn fastopen:warn defer_accept:ok; do
		ask open old "${kind%:*}=1"
		ask half 5
		ask open new
		finds 0 "$(found "${kind#*:}" "${kind%:*}")"
		ask close old
		served 5
		ask forget
		ask close new
	done
}

@test "queues: what was accepted by TCP goes beyond the backlog; what is half-open fails" {
	ask open old backlog=100
	ask connect 50
	ask open new backlog=3
	finds 0 "any(.findings[]; .what == \"backlog\" and .severity == \"warn\" and
		(.why | contains(\"50 connections\")))"
	ask close old
	served 50
	ask forget
	ask close new
	ask open old backlog=100
	ask half 50
	ask open new backlog=3
	finds 1 "($(worst loss backlog)) and (.findings[0].why | contains(\"50 half-open\"))"
	ask close old
	ask serve
	jq -e '.served < 50' <<<"$A"
}

@test "a queue that is full already, and cannot be longer than somaxconn" {
	there sysctl -qw net.core.somaxconn=2
	ask open old backlog=100
	ask connect 3
	finds 1 "any(.findings[]; .what == \"backlog\" and .severity == \"loss\" and
		(.remedy | contains(\"somaxconn\"))) and (.listeners[0].backlog == 2)"
}

@test "families: dual-stack beside IPv4 only is two groups; 0.0.0.0 and [::] V6ONLY are one each" {
	ask open old family=6
	ask half 5
	ask open new addr=0.0.0.0
	finds 1 "($(worst loss family))"
	ask close old
	served 0
	ask forget
	ask open v6 family=6 v6only=1
	finds 1 "all(.findings[]; .what != \"family\" and .what != \"v6only\") and
		([.findings[] | select(.what == \"alone\")] | length == 2)"
	ask open dual family=6 v6only=0
	finds 1 "$(found loss v6only) and $(found loss family)"
}

@test "MPTCP, and users that differ" {
	[[ $(cat /proc/sys/net/mptcp/enabled 2>/dev/null) == 1 ]] || skip "no MPTCP"
	ask open a mptcp=1
	finds 1 "($(worst loss mptcp)) and (.listeners[0].mptcp)"
	ask close a
	ask open a
	ask open b uid=1000
	finds 1 "($(worst loss uid)) and ([.listeners[].uid] | sort == [0, 1000])"
}

@test "settings: syncookies, abort_on_overflow, tcp_fastopen" {
	ask open a fastopen=5 backlog=8
	ask open b fastopen=5 backlog=8
	there sysctl -qw net.ipv4.tcp_fastopen=1 net.ipv4.tcp_abort_on_overflow=1
	finds 0 "$(found warn tcp_fastopen) and $(found warn abort_on_overflow) and
		all(.findings[]; .what != \"syncookies\")"
	there sysctl -qw net.ipv4.tcp_syncookies=2
	finds 0 "$(found warn syncookies)"
	# By cookie: no request that could migrate, and none is needed while the group is there.
	ask half 5
	ask close a
	served 5
	ask forget
	ask half 5
	ask close b
	ask open b
	served 0
	ask forget
	ask close b
	there sysctl -qw net.ipv4.tcp_syncookies=1
	ask open a backlog=8
	ask open b backlog=8
	ask syn 60
	finds 1 "any(.findings[]; .what == \"syncookies\" and .severity == \"warn\" and (.why | contains(\"half-open\")))"
}

@test "UDP does not migrate, and that is said" {
	ask open a udp=1
	run -1 kcm -j migrate check --port "$PORT" --pid "$peer" --udp
	jq -e "$(worst loss alone)" <<<"$output"
	ask open b udp=1
	run -0 kcm -j migrate check --port "$PORT" --pid "$peer" --udp
	jq -e "($(worst warn udp)) and .protocol == \"udp\" and (.listeners | length == 2)" <<<"$output"
}

@test "a cgroup: listeners of its processes, and of those below" {
	local root
	root=$(awk '/ - cgroup2 / { print $5; exit }' /proc/self/mountinfo)
	CGROUP=$root/kcm_check_${KCM_TEST_RUN:-0}_$$
	mkdir -p "$CGROUP/below"
	ask open a
	ask open b
	run -1 kcm -j migrate check --port "$PORT" --cgroup "$CGROUP"
	jq -e "($(worst loss listener))" <<<"$output"
	echo "$peer" >"$CGROUP/below/cgroup.procs"
	run -0 kcm -j migrate check --port "$PORT" --cgroup "${CGROUP##*/}"
	jq -e '.listeners | length == 2' <<<"$output"
	echo "$peer" >"$root/cgroup.procs"
	rmdir "$CGROUP/below"
}

@test "without privilege: what cannot be seen is unknown, exit 4; a loss is a loss all the same" {
	KCMTOOL=$BATS_TEST_TMPDIR/kcmtool
	cp "$BUILD/kcmtool" "$KCMTOOL"
	chmod 755 "$BATS_TEST_TMPDIR" "$BATS_FILE_TMPDIR" "$BATS_RUN_TMPDIR" "$KCMTOOL"
	ask open a
	ask open b
	run -4 nsenter -t "$peer" -n bash -c "$(declare -f as_user); as_user none \"\$@\"" bash \
		"$KCMTOOL" -j migrate check --port "$PORT"
	jq -e '([.findings[] | select(.severity == "unknown").what] | unique == ["md5", "settings"]) and
		all(.findings[] | select(.severity == "unknown"); .remedy | contains("CAP_")) and
		.loss == false and (.listeners[0] | has("reuseport") == false)' <<<"$output"
	there sysctl -qw net.ipv4.tcp_migrate_req=0
	run -1 nsenter -t "$peer" -n bash -c "$(declare -f as_user); as_user none \"\$@\"" bash \
		"$KCMTOOL" migrate check --port "$PORT"
	# The process of somebody else, asked for.
	run -4 as_user none "$KCMTOOL" migrate check --port "$PORT" --pid "$peer"
	[[ ${#lines[@]} -eq 1 && $output == "kcmtool: cannot check port"*"CAP_SYS_PTRACE"* ]]
}

@test "bad input: one line each, and what to do" {
	expect() { # status text words...
		local want=$1 text=$2
		shift 2
		run kcm migrate check "$@"
		((status == want)) && [[ ${#lines[@]} -eq 1 && $output == "kcmtool: "*"$text"* ]]
	}
	expect 2 "missing option 'port'"
	expect 2 "bad value" --port 0
	expect 2 "bad value" --port 65536
	expect 2 "bad value" --port http
	expect 2 "bad value" --port 80 --pid -1
	expect 2 "not both" --port 80 --pid 1 --cgroup /
	expect 1 "no such process" --port 80 --pid 4194304
	expect 6 "No such file" --port 80 --cgroup no/such
	expect 6 "not in cgroup2" --port 80 --cgroup /proc
}
