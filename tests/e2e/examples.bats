#!/usr/bin/env bats
# The examples: built, run, every answer checked; what their README says is run as it stands there.
# shellcheck disable=SC2153 # PINS is of common.bash
bats_require_minimum_version 1.5.0
load common

EX=$BUILD/examples
SRC=$ROOT/examples

setup() {
	PIDS=()
	export KCM_LIBRARY=$BUILD/libkcm.so.0
}

teardown() {
	local pid
	# Latest first: clients and guests before servers.
	for ((i = ${#PIDS[@]} - 1; i >= 0; i--)); do
		end "${PIDS[i]}" || true
	done
	for log in "$BATS_TEST_TMPDIR"/log.*; do
		[[ ! -s $log ]] || sed "s/^/${log##*/}: /" "$log" >&2
	done
	[[ -z ${COPIES:-} ]] || rm -rf "$COPIES"
	kcm unload --force >&2
	nothing_left
}

# Neither pins nor control sockets; the directory of the latter is allowed to stay.
nothing_left() {
	nothing_pinned
	rmdir /run/kcm/mux 2>/dev/null || [[ ! -e /run/kcm/mux ]]
}

# ---- processes: background NAME COMMAND..., its pid in $PID, its output in log.NAME ----
background() {
	local log=$BATS_TEST_TMPDIR/log.$1
	shift
	rm -f "$log" # what a former one of this name said
	"$@" >"$log" 2>&1 3>&- &
	PID=$!
	PIDS+=("$PID")
}

end() { # pid [signal]: the exit status is that of the process
	kill -"${2:-TERM}" "$1" 2>/dev/null || true
	wait "$1"
}

eventually() { # command...
	for _ in {1..1200}; do
		if "$@" >/dev/null 2>&1; then return 0; fi
		sleep 0.05
	done
	echo "never true: $*" >&2
	"$@"
}

# server NAME COMMAND...: its address in $AT, its pid in $SERVER
server() {
	background "$@"
	SERVER=$PID
	eventually grep -qE 'listening on ' "$BATS_TEST_TMPDIR/log.$1"
	AT=127.0.0.1:$(sed -nE 's/.*listening on .*[ :]([0-9]+)$/\1/p' "$BATS_TEST_TMPDIR/log.$1")
}

call() { "$EX/call" "$AT" "$@"; }
number() { kcm -j mux stats rpc | jq "$1"; }
workers_are() { (($(number .workers.now) == $1)); }
stat_is() { [[ $(number "$1") == "$2" ]]; }
worker_pid() { kcm -j mux workers rpc | jq ".workers[] | select($1) | .pid" | head -n 1; }

# rpc WORKERS PROGRAM...: a server of them, all ready
rpc() {
	local n=$1
	server server "$EX/rpc_server" 127.0.0.1:0 "$@"
	eventually workers_are "$n"
}

answers_are_right() {
	[[ $(call echo 'a  b ') == 'a  b ' ]]
	[[ $(call echo) == '' ]]
	[[ $(call upper 'straight on') == 'STRAIGHT ON' ]]
	[[ $(call sum 1 2 -40 9000000000) == 8999999963 ]]
	[[ $(call sleep 3) == 'slept 3' ]]
	run -1 call sum one
	[[ $output == 'call: 1 err bad arguments' ]]
	run -1 call sum 9223372036854775807 1
	[[ $output == 'call: 1 err bad arguments' ]]
	run -1 call nonsense
	[[ $output == 'call: 1 err unknown method' ]]
}

# load_is_right [OPTION]...: all answers of two seconds as they must be
load_is_right() {
	run -0 "$EX/client" -t 2 "$@" "$AT"
	[[ $output =~ ^[1-9][0-9]*\ answers,\ all\ right\;\ 0\ repeated ]]
}

# Lines of random length in random segments over some connections come back in order.
check_echo() { # header: line or u32be; longest message; messages
	python3 - "${AT##*:}" "$@" <<'PY'
import random, socket, struct, sys, threading
port, kind, longest, count = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
bad = []
def one(seed):
    rnd = random.Random(seed)
    out = []
    for i in range(count):
        body = b"%d %d " % (seed, i) + rnd.randbytes(rnd.randrange(longest)).replace(b"\n", b"!")
        out.append(struct.pack(">I", len(body)) + body if kind == "u32be" else body + b"\n")
    out = b"".join(out)
    with socket.create_connection(("127.0.0.1", port)) as s:
        s.settimeout(60)
        def send():
            at = 0
            while at < len(out):
                n = rnd.choice((1, 3, 100, 5000, 100000))
                s.sendall(out[at:at + n])
                at += n
        sender = threading.Thread(target=send)
        sender.start()
        back = bytearray()
        while len(back) < len(out):
            data = s.recv(1 << 20)
            if not data:
                break
            back += data
        sender.join()
        if back != out:
            bad.append((seed, len(back), len(out)))
threads = [threading.Thread(target=one, args=(i,)) for i in range(6)]
[t.start() for t in threads]
[t.join() for t in threads]
sys.exit(f"not what was sent: {bad}" if bad else 0)
PY
}

@test "every example has at most 150 lines" {
	run -0 awk 'FNR == 151 { print FILENAME; bad = 1 } END { exit bad }' "$SRC"/*.c "$SRC"/*.py
	[[ -z $output ]]
	for source in "$SRC"/*.c; do
		[[ -x $EX/$(basename "$source" .c) ]]
	done
}

@test "echo_server: lines, by threads, in order" {
	server echo "$EX/echo_server" 127.0.0.1:0 3
	check_echo line 3000 1500
	end "$SERVER" INT
	nothing_left
}

@test "echo_server: another frame, and messages longer than a chunk" {
	server echo "$EX/echo_server" 127.0.0.1:0 2 'u32be max=4M'
	check_echo u32be 300000 25
	end "$SERVER"
}

@test "examples refuse wrong usage and unusable addresses with one line" {
	for wrong in "echo_server a b" "rpc_server 127.0.0.1:0 0 x" "rpc_worker a b" "client" \
		"call 127.0.0.1:1" "any_sender 1" "loop_worker a b" "echo_server 127.0.0.1:none" \
		"echo_server 127.0.0.1:0 2 nonsense" "rpc_worker nobody-there" \
		"restart_server a b c" "restart_server nowhere" "restart_server 127.0.0.1:0 /none"; do
		# shellcheck disable=SC2086
		run -1 "$EX"/$wrong
		[[ ${#lines[@]} -eq 1 && $output == "${wrong%% *}: "* ]]
	done
	KCM_WORKER_FD='' run -1 "$EX/rpc_worker"
	[[ $output == *KCM_WORKER_FD* ]]
}

@test "client notices answers that are wrong, come twice, or don't come" {
	cat >"$BATS_TEST_TMPDIR/liar.py" <<'PY'

import socket, struct, sys
listener = socket.create_server(("127.0.0.1", 0))
print("listening on port", listener.getsockname()[1])
conn, _ = listener.accept()
stream = conn.makefile("rwb")
# Right once, so that it is not the first answer that is noticed.
for number in range(3):
    length, = struct.unpack(">I", stream.read(4))
    ident, method, *args = stream.read(length).split(b" ", 2)
    args = args[0] if args else b""
    result = {b"echo": lambda: args, b"upper": args.upper,
              b"sum": lambda: b"%d" % sum(map(int, args.split()))}[method]()
    if sys.argv[1] == "none" and number == 1:
        break
    if sys.argv[1] == "wrong" and number == 1:
        result = b"x" + result[1:]
    answer = ident + b" ok " + result
    stream.write((struct.pack(">I", len(answer)) + answer)
                 * (2 if sys.argv[1] == "twice" and number == 1 else 1))
    stream.flush()
conn.close()
PY
	for how in wrong twice none; do
		background "$how" python3 -u "$BATS_TEST_TMPDIR/liar.py" "$how"
		eventually grep -q listening "$BATS_TEST_TMPDIR/log.$how"
		run -1 "$EX/client" -c 1 -d 1 -t 5 "127.0.0.1:$(sed 's/.* //' "$BATS_TEST_TMPDIR/log.$how")"
		case $how in
		wrong) [[ $output == "client: wrong answer: "* ]] ;;
		twice) [[ $output == "client: answered twice: "* ]] ;;
		none) [[ $output == "client: no answer after 1: "* ]] ;;
		esac
	done
}

@test "rpc_server with C worker processes" {
	rpc 3 "$EX/rpc_worker"
	answers_are_right
	load_is_right
	load_is_right -c 30 -d 4 -b 900
	(($(kcm -j mux workers rpc | jq '[.workers[] | select(.msgs > 0)] | length') == 3))
	end "$SERVER"
	[[ ! -e $PINS/mux/rpc && ! -e /run/kcm/mux/rpc.sock ]]
}

@test "rpc_server with Python workers" {
	rpc 2 "$SRC/worker.py"
	answers_are_right
	[[ $(call pid) =~ ^[0-9]+\ python$ ]]
	load_is_right
	end "$SERVER"
}

@test "C and Python workers on one mux, joined by name" {
	rpc 1 "$EX/rpc_worker"
	background python "$SRC/worker.py" rpc
	python=$PID
	background worker "$EX/rpc_worker" rpc
	worker=$PID
	eventually workers_are 3
	load_is_right -c 6 -s 2
	kcm -j mux workers rpc | jq -e --argjson p "$python" --argjson w "$worker" \
		'[.workers[] | select(.msgs > 0) | .pid] | contains([$p, $w]) and length == 3'
	# They leave in good order while there is a load, and the rest goes on.
	background client "$EX/client" -t 2 "$AT"
	client=$PID
	eventually stat_is .connections.now 8
	end "$python"
	end "$worker" INT
	wait "$client"
	stat_is .workers.lost 0
	# One that stays sees the end of the server.
	background last "$EX/rpc_worker" rpc
	last=$PID
	eventually workers_are 2
	end "$SERVER"
	wait "$last"
}

@test "rpc_server starts a dead worker again" {
	rpc 2 "$EX/rpc_worker"
	first=$(worker_pid true)
	kill -KILL "$first"
	restarted() { workers_are 2 && [[ -z $(worker_pid ".pid == $first") ]]; }
	eventually restarted
	grep -q "worker $first ended" "$BATS_TEST_TMPDIR/log.server"
	answers_are_right
	end "$SERVER"
}

@test "at least once: what a killed worker had in hand another one answers" {
	rpc 2 "$EX/rpc_worker"
	background call "$EX/call" "$AT" sleep 1500
	call=$PID
	eventually stat_is .receive.in_hand 1
	victim=$(worker_pid '.in_hand == 1')
	kill -KILL "$victim"
	wait "$call"
	[[ $(cat "$BATS_TEST_TMPDIR/log.call") == "slept 1500" ]]
	stat_is .workers.redelivered 1
	stat_is .workers.lost 0
	end "$SERVER"
}

@test "at least once under load: five workers killed, every request answered" {
	rpc 3 "$EX/rpc_worker"
	background client "$EX/client" -t 4 -s 3 -r "$AT"
	client=$PID
	eventually stat_is .connections.now 8
	ended() { (($(grep -c 'ended, status 0x9' "$BATS_TEST_TMPDIR/log.server") == $1)); }
	for i in {1..5}; do
		eventually workers_are 3
		kill -KILL "$(pgrep -P "$SERVER" | head -n 1)"
		eventually ended "$i"
	done
	wait "$client"
	grep -q 'all right' "$BATS_TEST_TMPDIR/log.client"
	stat_is .workers.lost 0
	end "$SERVER"
}

@test "loop_worker: the pollable descriptor in an epoll loop" {
	rpc 2 "$EX/loop_worker"
	answers_are_right
	load_is_right
	load_is_right -d 1 -c 1
	# They slept in epoll_wait(), and woke.
	eventually stat_is .workers.asleep 2
	answers_are_right
	end "$SERVER"
}

@test "receive-disable: a disabled worker gets nothing, the others everything; then enabled again" {
	rpc 1 "$EX/rpc_worker"
	background loop "$EX/loop_worker" rpc
	loop=$PID
	eventually workers_are 2
	load_is_right
	kill -USR1 "$loop"
	eventually stat_is .workers.disabled 1
	eventually stat_is .receive.in_hand 0
	had=$(kcm -j mux workers rpc | jq ".workers[] | select(.pid == $loop) | .msgs")
	load_is_right
	for _ in {1..10}; do
		[[ $(call pid) != "$loop c" ]]
	done
	(($(kcm -j mux workers rpc | jq ".workers[] | select(.pid == $loop) | .msgs") == had))
	kill -USR2 "$loop"
	eventually stat_is .workers.disabled 0
	load_is_right
	(($(kcm -j mux workers rpc | jq ".workers[] | select(.pid == $loop) | .msgs") > had))
	end "$loop"
	end "$SERVER"
}

@test "receive-disable: with no other worker messages wait, and are answered when one is enabled" {
	rpc 1 "$EX/loop_worker"
	loop=$(worker_pid true)
	kill -USR1 "$loop"
	eventually stat_is .workers.disabled 1
	background call "$EX/call" "$AT" upper later
	call=$PID
	eventually stat_is .receive.waiting 1
	stat_is .receive.in_hand 0
	[[ ! -s $BATS_TEST_TMPDIR/log.call ]]
	kill -USR2 "$loop"
	wait "$call"
	[[ $(cat "$BATS_TEST_TMPDIR/log.call") == LATER ]]
	end "$SERVER"
}

@test "any_sender: requests go to all connections, and each is answered" {
	rpc 2 "$EX/rpc_worker"
	first=$AT
	server run "$KCMTOOL" mux run second listen 127.0.0.1:0 workers 1 frame u32be -- "$EX/rpc_worker"
	run -0 "$EX/any_sender" 30000 "$first" "$first" "$AT"
	[[ $output == "30000 requests to 3 connections, all answered" ]]
	here=$(number .receive.messages)
	there=$(kcm -j mux stats second | jq .receive.messages)
	((here > 0 && there > 0 && here + there == 30000))
	[[ -z $(find "$PINS/mux" /run/kcm/mux -name 'any-*') ]]
	end "$SERVER"
}

@test "any_sender: a server that goes is reported, and nothing is left" {
	server one "$KCMTOOL" mux run second listen 127.0.0.1:0 workers 1 frame u32be -- "$EX/rpc_worker"
	background any "$EX/any_sender" 50000000 "$AT"
	any=$PID
	served() { (($(kcm -j mux stats second | jq .receive.messages) > 1000)); }
	eventually served
	end "$SERVER"
	code=0
	wait "$any" || code=$?
	((code == 1))
	grep -qE '^any_sender: (a connection ended|send to any)' "$BATS_TEST_TMPDIR/log.any"
	nothing_left
}

@test "Python sends to any connection, and is disabled and enabled" {
	rpc 1 "$EX/rpc_worker"
	# A client that only listens: what it gets is what the server says by itself.
	background ear python3 -c 'import socket, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1]))); s.settimeout(120)
data = b""
while len(data) < 8: data += s.recv(100)
print(data)' "${AT##*:}"
	ear=$PID
	eventually stat_is .connections.now 1
	PYTHONPATH=$SRC python3 - <<'PY'
import kcm
with kcm.Worker("rpc") as worker:
    worker.enable(False)
    try:
        worker.recv(0)
        raise SystemExit("received though disabled")
    except OSError as error:
        assert "receive" in str(error), error
    assert worker.send_any(b"\0\0\0\4tick") != 0
    worker.enable(True)
    assert worker.recv(0) == []
    try:
        worker.send(12345 << 32 | 1, b"x")
        raise SystemExit("sent to nowhere")
    except OSError as error:
        assert error.errno == 107, error
try:
    kcm.Worker("nobody-there")
    raise SystemExit("joined nothing")
except FileNotFoundError:
    pass
PY
	wait "$ear"
	[[ $(cat "$BATS_TEST_TMPDIR/log.ear") == "b'\\x00\\x00\\x00\\x04tick'" ]]
	end "$SERVER"
}

# Copies that anybody may read and run, wherever the sources are.
copies() {
	COPIES=$(mktemp -d /tmp/kcm-examples.XXXXXX)
	chmod 755 "$COPIES"
	cp "$EX/rpc_worker" "$SRC/worker.py" "$SRC/kcm.py" "$KCM_LIBRARY" "$COPIES"
	chmod -R a+rX "$COPIES"
	export KCM_LIBRARY=$COPIES/libkcm.so.0
}

@test "workers as nobody, with an inherited descriptor and no capability" {
	copies
	nobody=(setpriv --reuid nobody --regid nogroup --clear-groups --no-new-privs --bounding-set -all)
	rpc 2 "${nobody[@]}" "$COPIES/rpc_worker"
	for pid in $(kcm -j mux workers rpc | jq '.workers[].pid'); do
		grep -qE "^Uid:\s+$(id -u nobody)\s" "/proc/$pid/status"
		grep -qE '^CapEff:\s+0+$' "/proc/$pid/status"
	done
	answers_are_right
	load_is_right
	# By name only root may join.
	run -1 "${nobody[@]}" "$COPIES/rpc_worker" rpc
	[[ $output == *"Permission denied" ]]
	end "$SERVER"

	rpc 2 "${nobody[@]}" "$COPIES/worker.py"
	answers_are_right
	load_is_right
	end "$SERVER"
}

@test "kcmtool mux run: C workers as nobody, Python as a guest" {
	copies
	server run "$KCMTOOL" mux run rpc listen 127.0.0.1:0 workers 2 user nobody frame u32be \
		at-least-once -- "$COPIES/rpc_worker"
	eventually workers_are 2
	background python "$SRC/worker.py" rpc
	eventually workers_are 3
	answers_are_right
	load_is_right -s 2
	end "$SERVER"
	wait "$PID"
}

@test "kcmtool mux run: Python workers, reloaded under load" {
	server run "$KCMTOOL" mux run rpc listen 127.0.0.1:0 workers 2 frame u32be -- "$SRC/worker.py"
	eventually workers_are 2
	old=$(worker_pid true)
	background client "$EX/client" -t 4 "$AT"
	client=$PID
	eventually stat_is .connections.now 8
	kill -HUP "$SERVER"
	replaced() { workers_are 2 && [[ -z $(worker_pid ".pid == $old") ]]; }
	eventually replaced
	wait "$client"
	grep -q 'all right; 0 repeated' "$BATS_TEST_TMPDIR/log.client"
	stat_is .workers.lost 0
	end "$SERVER"
}

# code_of LANGUAGE N: the Nth block of that language in the README of the examples
code_of() {
	awk -v lang="$1" -v want="$2" '
		/^```/ { inside = 0 }
		inside == 1 { print }
		$0 == "```" lang && ++n == want { inside = 1 }' "$SRC/README.md"
}

@test "the README's C worker: compiled with what make install puts in place, and run" {
	make -s -C "$ROOT" BUILD="$BUILD" install DESTDIR="$BATS_TEST_TMPDIR/root" PREFIX=/usr >/dev/null
	code_of c 1 >"$BATS_TEST_TMPDIR/worker.c"
	(($(wc -l <"$BATS_TEST_TMPDIR/worker.c") > 10))
	cd "$BATS_TEST_TMPDIR"
	cc -Wall -Wextra -Wno-sign-conversion -Iroot/usr/include -o worker worker.c \
		-Lroot/usr/lib -Wl,-rpath,"$PWD/root/usr/lib" -lkcm
	server run "$KCMTOOL" mux run echo listen 127.0.0.1:0 workers 2 dispatch conn frame line \
		-- "$BATS_TEST_TMPDIR/worker"
	check_echo line 2000 500
	end "$SERVER"
}

@test "the README's Python workers: a plain loop, and asyncio" {
	for n in 1 2; do
		code_of python "$n" >"$BATS_TEST_TMPDIR/worker$n.py"
		grep -q kcm.Worker "$BATS_TEST_TMPDIR/worker$n.py"
		PYTHONPATH=$SRC server "run$n" "$KCMTOOL" mux run echo listen 127.0.0.1:0 workers 2 \
			dispatch conn frame line -- python3 "$BATS_TEST_TMPDIR/worker$n.py"
		check_echo line 2000 300
		end "$SERVER"
	done
}

@test "demo: to the end, and everything is gone" {
	run -0 env TMPDIR="$BATS_TEST_TMPDIR" DEMO_SECONDS=6 "$SRC/demo.sh"
	[[ $output == *"all right"* && $output == *"1 killed"*", 0 lost"* ]]
	[[ $output == *"MESSAGES"*"python3"* && $output == *"nothing is loaded"* ]]
	nothing_left
	[[ -z $(find "$BATS_TEST_TMPDIR" -name 'kcm-demo.*') ]]
}

@test "demo: stopped in the middle, and everything is gone" {
	background demo env TMPDIR="$BATS_TEST_TMPDIR" DEMO_SECONDS=60 "$SRC/demo.sh"
	demo=$PID
	eventually grep -q PER-S "$BATS_TEST_TMPDIR/log.demo"
	end "$demo" TERM
	grep -q 'nothing is loaded' "$BATS_TEST_TMPDIR/log.demo"
	nothing_left
	[[ -z $(find "$BATS_TEST_TMPDIR" -name 'kcm-demo.*') ]]
}
