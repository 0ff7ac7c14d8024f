#!/usr/bin/env bats
# migrate keep as a unit of systemd, which stores its anchors over restarts: systemd is played by
# migrate_unit.py.
# shellcheck disable=SC2030,SC2031,SC2153,SC2154 # each test is a subshell; ROOT; stderr of run
bats_require_minimum_version 1.5.0
load common

PORT=18098
CGROUPS=$(awk '/ - cgroup2 / { print $5; exit }' /proc/self/mountinfo)
CG=$CGROUPS/kcm_munit_${KCM_TEST_RUN:-$$-0}
NS=kcm-munit-$$

setup() {
	declare -gA IN=() OUT=() PID=()
	ip netns add "$NS"
	ip -n "$NS" link set lo up
	mkdir -p "$CG"
	peer client
}

teardown() {
	local p
	for p in "${!PID[@]}"; do end "$p"; done
	kcm migrate detach t 2>/dev/null || true
	ip netns del "$NS"
	soon rmdir "$CG"
	nothing_pinned
	[[ -z $(find /run/kcm -name 'migrate-*' 2>/dev/null) ]]
}

soon() { # COMMAND...: true within a minute
	local end=$((SECONDS + 60))
	while ((SECONDS < end)); do
		"$@" 2>/dev/null && return
		sleep 0.05
	done
	"$@"
}

in_net() { nsenter --net="/run/netns/$NS" "$@"; }

# COMMAND... answers commands with a line each; the first line says that it is there.
talker() { # NAME COMMAND...
	local name=$1 in out
	shift
	mkfifo "$BATS_TEST_TMPDIR/$name.in" "$BATS_TEST_TMPDIR/$name.out"
	nsenter --net="/run/netns/$NS" "$@" <"$BATS_TEST_TMPDIR/$name.in" >"$BATS_TEST_TMPDIR/$name.out" 3>&- &
	PID[$name]=$!
	exec {in}>"$BATS_TEST_TMPDIR/$name.in" {out}<"$BATS_TEST_TMPDIR/$name.out"
	IN[$name]=$in OUT[$name]=$out
	read -r -t 60 -u "$out" _
}

# A server, or the client. In the cgroup of the instance.
peer() { # NAME
	# shellcheck disable=SC2016
	CG=$CG talker "$1" bash -c 'echo $$ >"$CG/cgroup.procs" && exec "$@"' bash \
		python3 "$ROOT/tests/e2e/migrate_cli_peer.py" "$1" $PORT
}

unit() { talker unit python3 "$ROOT/tests/e2e/migrate_unit.py" "$1" "$KCMTOOL" migrate keep t; }

# What it answers, JSON, is in $A.
tell() { # NAME WORD...
	local name=$1
	shift
	echo "$*" >&"${IN[$name]}"
	read -r -t 60 -u "${OUT[$name]}" A
	[[ $A != *error* ]] || { echo "$name: $*: $A" >&2 && return 1; }
}

end() { # NAME
	local in=${IN[$1]} out=${OUT[$1]}
	if [[ $1 == unit ]]; then echo quit >&"$in"; else kill -KILL "${PID[$1]}"; fi 2>/dev/null || true
	wait "${PID[$1]}" 2>/dev/null || true
	exec {in}>&- {out}<&-
	rm "$BATS_TEST_TMPDIR/$1.in" "$BATS_TEST_TMPDIR/$1.out"
	unset "PID[$1]" "IN[$1]" "OUT[$1]"
}

answer() { jq -e "$1" <<<"$A" >/dev/null || { echo "not $1: $A" >&2 && return 1; }; }

shows() { # JQ
	local got
	got=$(in_net "$KCMTOOL" -j migrate show t 2>/dev/null)
	jq -e "$1" <<<"$got" >/dev/null || { jq . <<<"$got" >&2 && echo "not $1" >&2 && return 1; }
}

attach() { in_net "$KCMTOOL" migrate attach --port $PORT --cgroup "$CG" --name t "$@" 3>&-; }

stored() { tell unit names && answer "(.names | length) == $1"; }

# Listening sockets of the port, whoever has them, and what waits in them.
queues() { in_net ss -Htln "sport = :$PORT" | awk '{ n++; sum += $2 } END { print n + 0, sum + 0 }'; }
queues_are() { [[ $(queues) == "$*" ]]; }

@test "unit: it says when it is ready, and its anchor is stored; killed, it gets that back with all who wait" {
	unit "$BATS_TEST_TMPDIR/notify"
	peer g1
	tell g1 open a
	attach
	tell unit start
	answer '.ready and .ended == null and (.names | length) == 1 and (.names[0] | startswith("anchor-"))'
	local first
	first=$(jq -r '.names[0]' <<<"$A")
	shows ".anchor_pid == $(jq .pid <<<"$A") and .groups[0].anchor"
	end g1
	tell client begin 20
	soon queues_are 1 20
	tell unit kill
	answer '.ended == -9 and (.names | length) == 1'
	# Nobody keeps it: clients do not notice.
	tell client begin 5
	soon queues_are 1 25
	tell unit start
	answer ".ready and .names == [\"$first\"]"
	queues_are 1 25
	shows '.groups[0].waiting == 25 and .groups[0].expired == 0'
	peer g2
	tell g2 open a
	tell client finish
	answer '. == {"g2.a": 25}'
	# What waited was handed over: another anchor is stored, the first one not any more.
	soon stored 1
	answer ".names != [\"$first\"]"
	shows '.groups[0].unparked == 25'
	queues_are 2 0
}

@test "unit: restarted by SIGTERM, with who waits; an abstract socket" {
	unit "@kcm-munit-$$"
	attach --reuseport
	tell unit start
	peer g1
	tell g1 open a n=2
	soon stored 1
	tell unit stop
	answer '.ended == 0 and (.names | length) == 1'
	end g1
	tell client begin 10
	soon queues_are 1 10
	tell unit start
	answer '.ready and (.names | length) == 1'
	tell unit stop
	answer '.ended == 0'
	tell unit start
	peer g2
	tell g2 open a
	tell client finish
	answer '. == {"g2.a": 10}'
}

@test "unit: descriptors that are no anchors of ours are closed, those of another process not taken" {
	unit "$BATS_TEST_TMPDIR/notify"
	peer g1
	tell g1 open a
	attach
	tell unit start
	tell unit kill
	tell unit alien
	answer '.ready and .ended == null and (.names | length) == 1'
	# Its lock, its maps and what it waits with, one anchor, and nothing that listens elsewhere.
	local pid
	pid=$(jq .pid <<<"$A")
	[[ $(in_net ss -Htlnp | grep -c "pid=$pid,") == 1 ]]
	run -1 grep "pid=$pid," < <(in_net ss -Hulnap)
	[[ -z $(find "/proc/$pid/fd" -lname 'pipe:*' -not -name 2 -not -name 1) ]]
	queues_are 2 0
	tell unit kill
	# The number in LISTEN_PID is not its own: these are not for it, and it opens its own.
	tell unit other
	answer '.ready and (.names | length) == 2'
	queues_are 3 0
	end g1
	tell client begin 3
	peer g2
	tell g2 open a
	tell client finish
	answer '. == {"g2.a": 3}'
}

@test "unit: detach ends it for good" {
	unit "$BATS_TEST_TMPDIR/notify"
	peer g1
	tell g1 open a
	attach
	tell unit start
	in_net "$KCMTOOL" migrate detach t
	tell unit wait
	answer '.ended == 0'
	tell unit drop
	soon queues_are 1 0
	nothing_pinned
	tell client connect 5
	answer '. == {"g1.a": 5}'
}

@test "unit: of UDP it stores nothing, is ready, and registers what was opened meanwhile" {
	unit "$BATS_TEST_TMPDIR/notify"
	attach --udp
	kill -TERM "$(sed -n 1p /run/kcm/migrate-t)"
	soon test ! -e /run/kcm/migrate-t
	# shellcheck disable=SC2016
	CG=$CG talker g1 bash -c 'echo $$ >"$CG/cgroup.procs"; exec "$@"' bash \
		"$BUILD/tests/migrate_udp_server" $PORT
	shows '.groups[0].listeners == 1 and .groups[0].waiting == 1 and .keeper_pid == null'
	tell unit start
	answer '.ready and .names == []'
	soon shows ".groups[0].waiting == 0 and .groups[0].selector == \"on\" and .keeper_pid == $(jq .pid <<<"$A")"
	tell unit stop
	answer '.ended == 0'
}
