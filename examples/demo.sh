#!/usr/bin/env bash
# A tour in some seconds: load, serve with worker processes behind a mux, put a load on it, kill a
# worker, show what the pinned maps say meanwhile, unload. Ctrl-C ends it at any time, as cleanly.
# usage: sudo make demo    environment: BUILD, DEMO_SECONDS=15, DEMO_PORT=any, NO_COLOR
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

BUILD=${BUILD:-build}
KCMTOOL=${KCMTOOL:-$BUILD/kcmtool}
NAME=demo WORKERS=3 CONNS=8
LASTS=${DEMO_SECONDS:-15}

if ((EUID)); then
	echo "demo: needs root to load BPF programs; try: sudo make demo" >&2
	exit 4
fi

# ---- looks: a screen is drawn over, a log gets fewer tables ----
screen=0 bold='' dim='' green='' red='' plain='' drawn=0
if [[ -t 1 ]]; then
	screen=1
	if [[ -z ${NO_COLOR:-} ]]; then
		bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'
	fi
fi

erase() {
	((!drawn)) || printf '\e[%dA\e[J' "$drawn"
	drawn=0
}
step() { # title detail
	erase
	printf '%s==>%s %-8s %s\n' "$green" "$plain" "$1" \
		"$(fold -s -w 84 <<<"$2" | sed '2,$s/^/             /')"
}
fail() {
	erase
	printf '%sdemo: %s%s\n' "$red" "$*" "$plain" >&2
	exit 1
}
grouped() { sed -E ':a; s/([0-9])([0-9]{3})($|,)/\1,\2\3/; ta' <<<"$1"; }

# ---- what is started is ended, whatever happens ----
status=1 loaded=0 server='' guest='' client=''
tmp=$(mktemp -d "${TMPDIR:-/tmp}/kcm-demo.XXXXXX") || exit 1

end_process() { # pid: ask, then insist
	[[ -n $1 ]] || return 0
	kill -TERM "$1" 2>/dev/null
	for _ in {1..150}; do
		kill -0 "$1" 2>/dev/null || break
		sleep 0.1
	done
	kill -KILL "$1" 2>/dev/null
	wait "$1" 2>/dev/null
}

exec 8>&1 9>&2
on_exit() {
	trap '' INT TERM HUP
	exec >&8 2>&9 # the signal may have come while they led elsewhere
	end_process "$client"
	end_process "$guest"
	end_process "$server"
	for pid in $(jobs -pr); do # started just before the signal
		end_process "$pid"
	done
	if [[ -e /sys/fs/bpf/kcm/mux/$NAME ]]; then
		# Only if the server was killed: it removes its mux itself.
		"$KCMTOOL" mux delete "$NAME" --force || status=1
	fi
	if ((loaded)); then
		step unload "kcmtool unload"
		if "$KCMTOOL" unload >"$tmp/unload" 2>&1; then
			printf '    nothing is loaded, pinned or running any more\n'
		else
			# Somebody made and uses another one meanwhile: only ours goes.
			cat "$tmp/unload"
			"$KCMTOOL" mux delete default || status=1
		fi
	fi
	rm -rf "$tmp"
	rmdir /run/kcm/mux /run/kcm 2>/dev/null # if they are empty
	exit "$status"
}
on_signal() {
	exec >&8 2>&9
	erase
	printf '\n'
	status=0
	exit
}
trap on_exit EXIT
trap on_signal INT TERM HUP

# ---- tables, from the pinned maps ----
declare -A before=()
before_ms=0 now_ms=0 rate='' bar=''

per_second() { # key count: since the last time, in $rate
	local ms=$((now_ms - before_ms)) last=${before[$1]:-}
	rate=-
	[[ -z $last ]] || ((ms <= 0 || $2 < last)) || rate=$(grouped $((($2 - last) * 1000 / ms)))
	before[$1]=$2
}

make_bar() { # part whole width: in $bar
	local n=0
	(($2 == 0)) || n=$(($1 * $3 / $2))
	printf -v bar '%*s' "$n" ''
	bar=${bar// /#}
}

tables() {
	local total=0 rows pid command state msgs in_hand p50 p99 slot peer bytes waits
	now_ms=$(date +%s%3N)
	printf '%s%-8s %-12s %-8s %10s %9s %8s %8s %8s  %s%s\n' "$bold" WORKER COMMAND STATE \
		MESSAGES PER-S IN-HAND P50 P99 SHARE "$plain"
	rows=$("$KCMTOOL" -j mux workers "$NAME" | jq -r '.workers[] |
		[.pid, .command, .state, .msgs, .in_hand, .p50 // "-", .p99 // "-"] | @tsv')
	while read -r _ _ _ msgs _; do ((total += ${msgs:-0})); done <<<"$rows"
	while read -r pid command state msgs in_hand p50 p99; do
		[[ -n $pid ]] || continue
		per_second "w$pid" "$msgs"
		make_bar "$msgs" "$total" 20
		printf '%-8s %-12.12s %-8s %10s %9s %8s %8s %8s  %s%s%s\n' "$pid" "$command" \
			"$state" "$(grouped "$msgs")" "$rate" "$in_hand" "$p50" "$p99" \
			"$green" "$bar" "$plain"
	done <<<"$rows"
	printf '\n%s%-8s %-21s %-8s %10s %9s %12s %8s%s\n' "$bold" CONN PEER STATE MESSAGES \
		PER-S BYTES REPLIES "$plain"
	rows=$("$KCMTOOL" -j mux conns "$NAME" limit "$CONNS" | jq -r '.conns[] |
		[.slot, .peer, .state, .msgs, .bytes, .tx_msgs // "-"] | @tsv')
	while read -r slot peer state msgs bytes waits; do
		[[ -n $slot ]] || continue
		per_second "c$slot" "$msgs"
		printf '%-8s %-21s %-8s %10s %9s %12s %8s\n' "$slot" "$peer" "$state" \
			"$(grouped "$msgs")" "$rate" "$(grouped "$bytes")" "$(grouped "$waits")"
	done <<<"$rows"
	before_ms=$now_ms
}

draw() { # seconds so far
	{
		printf '\n%s%2d of %d s     kcmtool mux workers %s     kcmtool mux conns %s%s\n\n' \
			"$dim" "$1" "$LASTS" "$NAME" "$NAME" "$plain"
		tables
	} >"$tmp/tables" 2>&1
	erase
	((!screen)) || printf '\e[?7l' # lines that are too long are cut, not wrapped
	cat "$tmp/tables"
	((!screen)) || printf '\e[?7h'
	((!screen)) || drawn=$(wc -l <"$tmp/tables")
}

# ---- the tour ----
wait_for() { # what command...: until it succeeds, while the server lives
	local what=$1
	shift
	for _ in {1..100}; do
		if "$@" >/dev/null 2>&1; then return 0; fi
		kill -0 "$server" 2>/dev/null || break
		sleep 0.1
	done
	cat "$tmp/server" >&2
	fail "$what"
}
workers_are() { [[ $("$KCMTOOL" -j mux show "$NAME" | jq .workers) == "$1" ]]; }
has_traffic() { "$KCMTOOL" -j mux stats "$NAME" | jq -e '.receive.messages > 0'; }
deaths_are() { [[ $("$KCMTOOL" -j mux stats "$NAME" | jq .workers.deaths) == "$1" ]]; }
can_run() { setpriv --reuid nobody --regid nogroup --clear-groups test -x "$1"; }

"$KCMTOOL" status >/dev/null 2>&1
if (($? == 7)); then
	step load "kcmtool load"
	loaded=1
	"$KCMTOOL" load >"$tmp/load" || fail "kcmtool load failed; try: kcmtool doctor"
	sed 's/^/    /' "$tmp/load"
else
	step load "something is loaded already and is left as it is"
fi

user=()
! can_run "$BUILD/examples/rpc_worker" || user=(user nobody)
run=(mux run "$NAME" listen "127.0.0.1:${DEMO_PORT:-0}" workers "$WORKERS" "${user[@]}" frame u32be
	at-least-once -- "$BUILD/examples/rpc_worker")
step serve "kcmtool ${run[*]}"
"$KCMTOOL" "${run[@]}" 2>"$tmp/server" &
server=$!
wait_for "the server did not start" workers_are "$WORKERS"
address=$(sed -nE 's/.*listening on ([0-9.:]+)$/\1/p' "$tmp/server")

step join "examples/worker.py $NAME    (Python serves the same mux, it joins by name)"
KCM_LIBRARY=$BUILD/libkcm.so.0 python3 examples/worker.py "$NAME" 2>"$tmp/guest" &
guest=$!
wait_for "the Python worker did not join" workers_are $((WORKERS + 1))

load=(-c "$CONNS" -d 8 -t $((LASTS + 1)) -s 5 -r "$address")
step ask "client ${load[*]}    ($CONNS connections, one request of 20 takes 5 ms)"
"$BUILD/examples/client" "${load[@]}" >"$tmp/client" 2>&1 &
client=$!

killed=0 at=0 drawn_at=0
wait_for "the client did not start" has_traffic
tables >/dev/null # what the first rates are measured from
start=$SECONDS
# A worker is killed in any case, even where a look takes as long as all of it should.
while sleep 1 && ((at = SECONDS - start, at < LASTS || !killed)); do
	if [[ $killed == 0 ]] && ((at >= LASTS / 2)); then
		killed=$("$KCMTOOL" -j mux workers "$NAME" |
			jq '[.workers[] | select(.command == "rpc_worker")] | max_by(.in_hand).pid')
		kill -KILL "$killed" || fail "there is no worker to kill"
		step kill "kill -KILL $killed    (a worker, with what it has in hand)"
	fi
	((at < LASTS)) || break
	if ((screen || !drawn_at || at >= drawn_at + 5)); then
		draw "$at"
		drawn_at=$at
	fi
done
draw "$LASTS"
drawn=0
wait "$client" || { cat "$tmp/client" >&2; fail "the client did not get all its answers"; }
client=''
wait_for "the death of a worker was not noticed" deaths_are 1
"$KCMTOOL" -j mux stats "$NAME" >"$tmp/stats" || fail "kcmtool mux stats failed"

step stop "kill -TERM $server    (what is begun is finished, the mux goes with its server)"
kill -TERM "$server"
wait "$server" || { cat "$tmp/server" >&2; fail "the server ended with an error"; }
server=''
wait "$guest" || { cat "$tmp/guest" >&2; fail "the Python worker ended with an error"; }
guest=''

printf '\n%sSummary%s\n' "$bold" "$plain"
printf '  %-13s %s\n' "client" "$(cat "$tmp/client")"
jq -r '
	"framed by BPF	\(.receive.messages - .receive.owner_messages) of \(.receive.messages) messages",
	"connections	\(.connections.attached) attached, \(.errors.bad_frames) framing errors",
	"workers	\(.workers.deaths) killed, \(.workers.redelivered) of its messages given to another, \(
		.workers.lost) lost"' "$tmp/stats" |
	while IFS=$'\t' read -r key value; do
		printf '  %-13s %s\n' "$key" "$value"
	done
sed -nE 's/^kcmtool: mux [^:]*: (worker .*starting it again.*)/  server        \1/p' "$tmp/server"
printf '\n'
status=0
