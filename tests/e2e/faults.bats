#!/usr/bin/env bats
# Every command that changes something: system calls and allocations that fail, kills, and machines
# that lack something. Here a sample, another one with another KCM_SEED; KCM_FAULTS=all (make faults) is all.
bats_require_minimum_version 1.5.0
load common

# faults ARGUMENT...
faults() { python3 "$BATS_TEST_DIRNAME/faults.py" "$@"; }

teardown() { nothing_pinned; }

# sock's programs do not load everywhere mux's do.
needs_sock() {
	kcm -j doctor | jq -e '.systems[] | select(.system == "sock") | .verdict == "can be loaded"' ||
		skip "sock cannot be loaded here: $(kcm -j doctor |
			jq -r '.systems[] | select(.system == "sock") | .missing // .why')"
}

@test "the table has every command" { faults --table; }

@test "core: faults and kills" { faults core; }
@test "mux: faults and kills" { faults mux; }
@test "flow: faults and kills" { faults flow; }
@test "migrate: faults and kills" { faults migrate; }
@test "rx: faults and kills" { faults rx; }

@test "sock: faults and kills" {
	needs_sock
	faults sock
}

@test "core: what the machine lacks" { faults --host core; }
@test "mux: what the machine lacks" { faults --host mux; }
@test "flow: what the machine lacks" { faults --host flow; }
@test "migrate: what the machine lacks" { faults --host migrate; }
@test "rx: what the machine lacks" { faults --host rx; }

@test "sock: what the machine lacks" {
	needs_sock
	faults --host sock
}
