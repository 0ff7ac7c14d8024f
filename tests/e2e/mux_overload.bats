#!/usr/bin/env bats
# More comes than is taken: clients wait, memory is bounded, nothing is lost, others go on.
bats_require_minimum_version 1.5.0
load common

overload() {
	run "$BUILD/tests/mux_overload" "$1"
	echo "$output"
	((status == 0))
}

@test "workers stop: clients stall, memory is bounded, afterwards all arrives" { overload stalled; }
@test "the same with messages above the budget of long ones" { overload stalled-big; }
@test "one worker stuck in a message stops nobody else" { overload slow-worker; }
@test "one client that never reads stops nobody else" { overload slow-reader; }
