#!/usr/bin/env bats
# sock: rare lives of sockets, counted once, exactly and under their own names.
bats_require_minimum_version 1.5.0
load common
load sock_kit

ATTACK=$BUILD/tests/sock_attack

setup_file() { sock_begin --sockets 1024; }

teardown_file() { sock_end; }

# With a slot, and with all of them taken.
twice() { # WHAT
	for beyond in "" beyond; do
		run inside timeout 240 "$ATTACK" "$1" $beyond
		echo "$output"
		((status == 0))
	done
}

@test "a connection with itself: both SYNs cross" { twice self; }

@test "connect() that is refused, and connections of the same socket afterwards" { twice again; }

@test "a socket that listened becomes a client" { twice listened; }

@test "one UDP socket connected again and again" { twice udp; }

@test "a connection that was being made when the programs were loaded" {
	kcm sock unload
	mkfifo "$BATS_TEST_TMPDIR/go"
	inside timeout 240 "$ATTACK" old <>"$BATS_TEST_TMPDIR/go" >"$BATS_TEST_TMPDIR/out" 2>&1 &
	pid=$!
	until grep -qs ready "$BATS_TEST_TMPDIR/out"; do
		kill -0 $pid
		sleep 0.02
	done
	kcm sock load cgroup "$CGROUP" --sockets 1024
	echo >"$BATS_TEST_TMPDIR/go"
	wait $pid || status=$?
	cat "$BATS_TEST_TMPDIR/out"
	((${status:-0} == 0))
}
