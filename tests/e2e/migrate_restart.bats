#!/usr/bin/env bats
# migrate: real servers restart under load, and every byte of every response is checked. The short
# form: few restarts, some 10^4 connections. tests/bench/migrate_restart.sh is the long one, beside
# nothing and net.ipv4.tcp_migrate_req.
# shellcheck disable=SC2154
bats_require_minimum_version 1.5.0
load common
load migrate_kit

# shellcheck disable=SC2034
MIG_WITNESS=1

setup() {
	kcm help migrate >/dev/null 2>&1 || skip "this kcmtool has no migrate"
	migrate_begin
}

teardown() {
	[[ ! -v MIG_DIR ]] || migrate_end
	nothing_pinned
}

# No connection is lost but those that a killed process had accepted, or that are proven to be lost by
# the kernel's close() itself, and all generations answered.
survives() { # NAME RESTARTS MODE
	local lacks generations=$(($2 + 1))
	lacks=$(case_lacks "$1")
	if [[ -n $lacks ]]; then
		echo "# $1: $lacks" >&3
		return
	fi
	[[ $1 != *_worker ]] || generations=1
	restart_case "$1" "$2" "$3" >"$MIG_DIR/result"
	cat "$MIG_DIR/result"
	head -n 20 "$MIG_DIR/failures"
	cat "$MIG_DIR/show.json"
	jq -e --argjson generations "$generations" '.lost == 0 and .ok + .killed + .raced == .total and
		(.generations | length) == $generations' "$MIG_DIR/result" >/dev/null
	# Nobody is killed but where that is the case.
	[[ $1 == *_worker || $1 == *_kill ]] || jq -e '.killed == 0' "$MIG_DIR/result" >/dev/null
}

@test "a C server's generations overlap: close(), shutdown(), IPv6, TCP fast open" {
	for name in c_overlap cshut_overlap c6_overlap ctfo_overlap; do
		survives "$name" 4 bpf
	done
}

@test "the same with an anchor" {
	for name in c_overlap cshut_overlap c6_overlap ctfo_overlap; do
		survives "$name" 4 anchor
	done
}

@test "a generation that listens before it accepts" {
	survives cdelay_overlap 3 bpf
	survives cdelay_overlap 3 anchor
}

@test "a worker with a full accept queue is killed, others live" {
	survives c_worker 5 bpf
	survives c_worker 5 anchor
}

@test "nginx: reload with other and with the same worker_processes, an upgrade by overlap" {
	survives ng_reload 4 bpf
	survives ng_reload 3 anchor
	survives ng_same 3 bpf
	survives ng_overlap 4 bpf
	survives ng_overlap 3 anchor
}

@test "HAProxy: reload of the master, and -sf" {
	survives ham_reload 3 bpf
	survives ham_reload 3 anchor
	survives ha_sf 3 bpf
	survives ha_sf 3 anchor
}

@test "Python, Node and Go servers' generations overlap" {
	for name in py_overlap js_overlap go_overlap; do
		survives "$name" 2 bpf
		survives "$name" 2 anchor
	done
}

@test "stop, a gap, start: the anchor keeps who comes meanwhile" {
	for name in c_gap py_gap js_gap go_gap ha_gap; do
		survives "$name" 3 anchor
	done
}

@test "with park before the stop the kernel loses nothing either" {
	for name in c_gap ha_gap; do
		MIG_PARK="migrate park kcmtest" survives "$name" 5 anchor
		jq -e '.raced == 0' "$MIG_DIR/result" >/dev/null
	done
}

@test "kill -9 of the whole server, a gap, start" {
	survives c_kill 3 anchor
	survives ng_kill 3 anchor
}
