#!/usr/bin/env bats
# The mux against accidents and attacks, one scenario a test: see attack_*.c.

setup() { load common; }

attack() { timeout -k 5 120 "$BUILD/tests/attack_$1" "$2"; }

@test "wake: a worker is stopped in its sleep" { attack wake stopped; }
@test "wake: the same with a message that the owner framed" { attack wake stopped_big; }
@test "wake: a client that reads no answers" { attack wake full; }
@test "wake: a slow message does not hold up the next one" { attack wake uneven; }
@test "wake: floods do not shut out other connections" { attack wake lanes; }
