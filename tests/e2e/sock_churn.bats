#!/usr/bin/env bats
# sock: very many connections, opened and closed while everybody reads; 100,000 at once; and what
# happens where the kernel refuses storage. Nothing is torn, nothing is left.
# shellcheck disable=SC2016
bats_require_minimum_version 1.5.0
load common
load sock_kit

CHURN=$BUILD/tests/sock_churn

setup() { pids=() NS1=""; }

teardown() {
	for pid in "${pids[@]}"; do
		kill "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
	[[ -z $NS1 ]] || nets_end
	[[ ! -d $CGROUP ]] || sock_end
}

# Everything counted is settled: what was opened was closed, and no slot is in use.
nothing_left() {
	[[ $(inside "$CHURN" slots) == 0 ]]
	kcm -j sock stats | jq -e '.counters | .opened == .closed and .unparsed == 0'
}

# Every record of the herd agrees with itself: the address of a client says its port.
WHOLE='def port: split(".") | (.[2] | tonumber) * 256 + (.[3] | split(":")[0] | tonumber);
	[.sockets[] | select(.comm == "sock_churn" and .state == "established")] |
	all(.[]; if .role == "server" then (.peer | port) == .rport and
			(.rx_bytes == 0 or .rx_bytes == 1 + .rport % 997)
		else (.local | port) == .lport and
			(.tx_bytes == 0 or .tx_bytes == 1 + .lport % 997) end)'

churn_with_readers() {
	inside "$CHURN" churn 6 >"$BATS_TEST_TMPDIR/out" 2>&1 3>&- &
	churn=$!
	pids+=("$churn")
	local rounds=0
	while kill -0 "$churn" 2>/dev/null; do
		kcm -j sock show 2>/dev/null >"$BATS_TEST_TMPDIR/show"
		jq -e "$WHOLE" "$BATS_TEST_TMPDIR/show" >/dev/null
		kcm -j sock snapshot >"$BATS_TEST_TMPDIR/snapshot" 2>/dev/null
		kcm sock stats >/dev/null 2>&1
		rounds=$((rounds + 1))
	done
	wait "$churn" || { cat "$BATS_TEST_TMPDIR/out"; return 1; }
	cat "$BATS_TEST_TMPDIR/out"
	((rounds > 1))
	nothing_left
}

@test "connections come and go while show, snapshot and mapped readers look: no record is torn" {
	sock_begin
	churn_with_readers
}

@test "the same with most connections beyond the slots" {
	sock_begin sockets 1024
	churn_with_readers
	kcm -j sock stats | jq -e '.counters | .beyond > 0 and .beyond > .opened / 4'
}

@test "100,000 sockets are listed, and closed without a trace" {
	sock_begin
	mkfifo "$BATS_TEST_TMPDIR/in"
	exec 9<>"$BATS_TEST_TMPDIR/in"
	# The reading end only: stdin ends when fd 9 is closed here.
	inside "$CHURN" herd 100000 <"$BATS_TEST_TMPDIR/in" >"$BATS_TEST_TMPDIR/out" 2>&1 3>&- 9>&- &
	herd=$!
	pids+=("$herd")
	until grep -q ready "$BATS_TEST_TMPDIR/out"; do
		kill -0 "$herd" || { cat "$BATS_TEST_TMPDIR/out"; return 1; }
		sleep 0.2
	done
	kcm -j sock show 2>/dev/null >"$BATS_TEST_TMPDIR/show"
	jq -e '[.sockets[] | select(.comm == "sock_churn")] | length == 100000 and
		([.[].cookie] | unique | length) == 100000 and
		([.[] | select(.stored == "slot")] | length) > 10000' "$BATS_TEST_TMPDIR/show"
	jq -e "$WHOLE" "$BATS_TEST_TMPDIR/show"
	kcm -j sock snapshot | jq -e '.sockets >= 100000 and .missed == 0'
	exec 9>&-
	wait "$herd" || { cat "$BATS_TEST_TMPDIR/out"; return 1; }
	nothing_left
	kcm -j sock show --all | jq -e '[.sockets[] | select(.comm == "sock_churn")] == []'
}

@test "storage refused (net.core.optmem_max): counted, shown, and connections work" {
	sock_begin
	nets_begin 1500
	ip netns exec "$NS1" sysctl -q net.core.optmem_max ||
		skip "net.core.optmem_max is not of a namespace here"
	ip netns exec "$NS1" sysctl -qw net.core.optmem_max=256
	run -0 inside nsenter --net="/run/netns/$NS1" "$CHURN" few 100
	[[ $output == "100 connections" ]]
	kcm -j sock stats | jq -e '.counters.no_storage >= 100'
	kcm sock stats | grep -q no_storage
	ip netns exec "$NS1" sysctl -qw net.core.optmem_max=131072
	before=$(kcm -j sock stats | jq .counters.opened)
	run -0 inside nsenter --net="/run/netns/$NS1" "$CHURN" few 100
	[[ $(kcm -j sock stats | jq .counters.opened) == $((before + 200)) ]]
}
