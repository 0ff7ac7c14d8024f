#!/usr/bin/env bats
# migrate where every twentieth packet is lost: handshakes take seconds, and many of them are half
# done whenever a listener closes. The short form: few restarts, some 10^3 connections each.
# shellcheck disable=SC2154
bats_require_minimum_version 1.5.0
load common
load migrate_kit

# Longer than a handshake takes of which half a dozen packets are lost: who is not served by then is
# not waiting for the network.
export MIG_TIMEOUT=60 MIG_CONC=192 MIG_CONNS=1000 MIG_BETWEEN=300

setup() {
	kcm help migrate >/dev/null 2>&1 || skip "this kcmtool has no migrate"
	migrate_begin
	loss_on
}

teardown() {
	[[ ! -v MIG_DIR ]] || migrate_end
	nothing_pinned
}

# Packets that were lost, of those of the namespace.
retransmitted() { in_net nstat -asz TcpRetransSegs | awk '$1 == "TcpRetransSegs" { print $2 }'; }

# Without restarts nothing is lost but time, and so it is with them; what the kernel is seen to lose
# within close() is counted apart.
no_worse() { # NAME RESTARTS MODE
	local before
	before=$(retransmitted)
	MIG_WITNESS=1 restart_case "$1" "$2" "$3" >"$MIG_DIR/result"
	cat "$MIG_DIR/result"
	head -n 20 "$MIG_DIR/failures"
	[[ $3 == none ]] || cat "$MIG_DIR/show.json"
	jq -e --argjson generations $(($2 + 1)) '.lost == 0 and .killed == 0 and .ok + .raced == .total and
		(.generations | length) == $generations' "$MIG_DIR/result" >/dev/null
	# There was loss, of about one packet in twenty: three of a connection's ten at the least.
	(($(retransmitted) - before > $(jq .total "$MIG_DIR/result") / 10))
}

@test "packets are lost: without restarts no connection is" {
	no_worse c_overlap 0 none
}

@test "packets are lost: generations overlap, the old one ends its handshakes: no connection is lost" {
	no_worse c_settled 2 bpf
	no_worse c_settled 2 anchor
}

@test "packets are lost: stop, a gap, start: the anchor keeps who comes meanwhile" {
	no_worse c_gap 2 anchor
}

# Two races of the kernel's close() with handshakes remain, where many are half done: a few in 10^4.
@test "packets are lost: an old generation that just stops loses a twentieth of what it does without us, at most" {
	local none
	restart_case c_overlap 3 none >"$MIG_DIR/result"
	cat "$MIG_DIR/result"
	none=$(jq .lost "$MIG_DIR/result")
	((none > 0))
	restart_case c_overlap 3 bpf >"$MIG_DIR/result"
	cat "$MIG_DIR/result"
	jq -e --argjson none "$none" '.lost * 20 <= $none' "$MIG_DIR/result" >/dev/null
}
