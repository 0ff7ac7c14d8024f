#!/usr/bin/env bats
# Bad peers: others are unaffected, memory is bounded, each gets a clear event.
bats_require_minimum_version 1.5.0
load common

badpeer() {
	run "$BUILD/tests/mux_badpeer" "$1"
	echo "$output"
	((status == 0))
}

@test "garbage" { badpeer garbage; }
@test "long messages that are announced and do not come" { badpeer promises; }
@test "one byte a second" { badpeer byte-a-second; }
@test "10 000 connections with half a header" { badpeer ten-thousand; }
@test "10 000 connections with half a header, timed out" { badpeer ten-thousand-timed; }
