#!/usr/bin/env bats
# flow: whoever is killed leaves the set before or the one after, never neither and never a mixture.
bats_require_minimum_version 1.5.0
load common
load flow_kit

setup() {
	flow_begin
	export KCMTOOL FLOW_NS FLOW_PEER FLOW_DIR
}

teardown() {
	flow_end
	nothing_pinned
}

@test "killed at random moments of replace, add, del and load, under traffic" {
	python3 "$BATS_TEST_DIRNAME/flow_kill.py" 100
}

@test "killed at random moments of the first load, and of unload: the next load works" {
	local n pid
	for ((n = 0; n < 20; n++)); do
		(exec nsenter --net="/run/netns/$FLOW_NS" "$KCMTOOL" flow load fl0) &
		pid=$!
		sleep "0.0$((RANDOM % 10))$((RANDOM % 10))"
		kill -KILL "$pid" || true
		wait "$pid" || true
		flow load fl0
		pings 10.9.0.1 1
		(exec nsenter --net="/run/netns/$FLOW_NS" "$KCMTOOL" flow unload fl0) &
		pid=$!
		sleep "0.00$((RANDOM % 10))"
		kill -KILL "$pid" || true
		wait "$pid" || true
	done
	flow load fl0
}
