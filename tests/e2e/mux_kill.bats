#!/usr/bin/env bats
# SIGKILL and SIGSTOP under load: the rest goes on, the next start works, nothing is left.
bats_require_minimum_version 1.5.0
load common

runs() { # program arguments...
	run "$BUILD/tests/$1" "${@:2}"
	echo "$output"
	((status == 0))
}

@test "server killed with the workers that it started" { runs mux_kill owner-parent; }
@test "server killed, workers came by name" { runs mux_kill owner-named; }
@test "stopped worker: everybody else goes on" { runs mux_kill stopped-worker; }

@test "workers killed, at most once: no message twice, none torn" {
	for policy in least robin conn key; do
		runs mux_torture --kill --conns 16 --workers 4 --msgs 4000 --policy $policy
	done
}

@test "workers killed, at least once: every message is answered" {
	for policy in least robin conn key; do
		runs mux_torture --kill --at-least-once --conns 16 --workers 4 --msgs 4000 \
			--policy $policy
	done
}

@test "workers killed while connections come and go, with long messages" {
	runs mux_torture --kill --at-least-once --churn --conns 16 --workers 4 --msgs 500
	runs mux_torture --kill --at-least-once --conns 4 --workers 4 --msgs 200 --max 1000000
}
