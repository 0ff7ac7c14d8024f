#!/usr/bin/env bash
# The part of the soak that is migrate's: a server restarts in every way, again and again, under a load
# that checks every byte, until $SOAK_DIR/stop is there. One JSON object a line on stdout.
# usage: restarts.bash SERVER-NETNS CLIENT-NETNS ADDRESS
# shellcheck disable=SC2034,SC2317 # variables and functions of migrate_kit
set -uo pipefail
ROOT=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=tests/e2e/migrate_kit.bash
source "$ROOT/tests/e2e/migrate_kit.bash"

MIG_NS=$1 CLIENT_NS=$2 ADDRESS=$3
MIG_CG=$SOAK_CGROUP/restarts MIG_DIR=$SOAK_DIR/restarts
MIG_CONC=64 MIG_TIMEOUT=60 MIG_BETWEEN=${SOAK_BETWEEN:-1500}
MIG_MODE=anchor MIG_PARK="migrate park kcmtest"
MIG_LOAD='' MIG_HOOK='' MIG_RACES='' MIG_HANGS=''
THINK_US=6000 # of the server: what keeps the load down
HOWS=(settled gap worker kill settled worker gap)

gen_start() { # KIND GENERATION WORKERS
	GEN_KIND[$2]=$1
	MIG_WORKERS=$3
	gen_run "$2" "$BUILD/tests/migrate_server" --addr "$ADDRESS" --work "$THINK_US" \
		--gen "$2" --workers "$3" "$MIG_PORT"
	wait_until "$2 is ready" gen_says_ready "$2" && gen_alive "$2"
}

load_start() {
	rm -f "$MIG_DIR/progress" "$MIG_DIR/load.json"
	: >"$MIG_DIR/killed"
	: >"$MIG_DIR/raced"
	# shellcheck disable=SC2016
	bash -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$SOAK_CGROUP/client" \
		nsenter --net="/run/netns/$CLIENT_NS" "$BUILD/tests/migrate_load" "$ADDRESS" "$MIG_PORT" \
		--source 10.66.0.0 --conc "$MIG_CONC" --timeout "$MIG_TIMEOUT" \
		--progress "$MIG_DIR/progress" --killed "$MIG_DIR/killed" --raced "$MIG_DIR/raced" \
		--log "$MIG_DIR/failures" >"$MIG_DIR/load.json" &
	MIG_LOAD=$!
	wait_until "the load has begun" test -s "$MIG_DIR/progress"
}

say() { jq -nc --arg event "$1" --arg what "$2" '{event: $event, what: $what}'; }
stopping() { [[ -e $SOAK_DIR/stop ]]; }

# All that restarts in one round: a load that begins, and ends when all of it is answered.
one_round() {
	local how
	load_start || return 1
	for how in "${HOWS[@]}"; do
		load_more "$MIG_BETWEEN" && load_answers "g$n" || return 1
		if [[ $how == worker ]]; then
			worker_kill "g$n" || return 1
		else
			"restart_$how" c "g$n" "g$((n + 1))" "$((n + 1))" || return 1
			((n++))
		fi
		say restart "$how"
		! stopping || break
	done
	load_more 100 && load_answers "g$n" || return 1
	races_note
	load_end || return 1
	jq -c '{event: "round"} + del(.generations) + {generations: (.generations | length)}' \
		"$MIG_DIR/load.json"
	jq -e '.lost == 0' "$MIG_DIR/load.json" >/dev/null || say lost "$(head -n 30 "$MIG_DIR/failures")"
}

# Beside the other signals of the terminal: who started us says when to stop.
trap '' INT
mkdir "$MIG_DIR"
n=1
if races_on && gen_start c g1 "$(workers_of 1)" && mode_on "$MIG_MODE"; then
	until stopping; do
		one_round || {
			say error "${MIG_HANGS:-a step has failed, generation g$n}"
			break
		}
	done
	load_abandon
	mode_off "$MIG_MODE" || say error "detach"
else
	say error "cannot begin"
fi
gen_kill_all
races_off
say end ""
