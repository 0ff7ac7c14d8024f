#!/usr/bin/env bats
# Labels of sockets: by setsockopt(), by libkcm, by operators, and by all of them at once.
# All sockets are of this test, in its cgroup; nothing else is killed than what it started.
# shellcheck disable=SC2016,SC2154 # $IN is for another shell; stderr of run --separate-stderr
bats_require_minimum_version 1.5.0
load common

CGROUP=$(awk '/ - cgroup2 / { print $5; exit }' /proc/self/mountinfo)/kcm_label_${KCM_TEST_RUN:-0}_$$
USER_TOOL=$BUILD/tests/sock_label_user

setup() {
	T=$BATS_TEST_TMPDIR
	pids=()
	mkdir "$CGROUP"
}

teardown() {
	local pid
	for pid in "${pids[@]}"; do
		kill -KILL "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
	[[ ! -e $PINS/sock ]] || kcm sock unload >/dev/null
	for _ in {1..600}; do
		rmdir "$CGROUP" 2>/dev/null && break
		sleep 0.1
	done
	nothing_pinned
}

load_sock() { kcm sock load --cgroup "$CGROUP" "$@" >/dev/null; }

# inside COMMAND...: in the cgroup of the test
IN='echo $$ >"$0/cgroup.procs" && exec "$@"'
inside() { bash -c "$IN" "$CGROUP" "$@"; }

# start NAME COMMAND...: there, in the background; its pid in $PID, its output in $T/NAME
start() {
	local name=$1
	shift
	bash -c "$IN" "$CGROUP" "$@" >"$T/$name" 2>&1 3>&- &
	PID=$!
	pids+=("$PID")
}

until_true() {
	local i
	for ((i = 0; i < 1200; i++)); do
		if "$@"; then return 0; fi
		sleep 0.05
	done
	echo "never true: $*" >&2
	return 1
}

# The example server at $PORT, and a connection to it as descriptor 5.
tagged_server() {
	start server "$BUILD/examples/tagged_server" 127.0.0.1:0
	until_true grep -q listening "$T/server"
	PORT=$(sed -n 's/.*port //p' "$T/server")
}

# A client in the cgroup that says what it is told to, a line each: say WORDS..., its answer in $SAID
connect() {
	coproc CLIENT { exec bash -c "$IN" "$CGROUP" python3 -c '
import socket, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1]))).makefile("rw")
for line in sys.stdin:
    s.write(line); s.flush(); print(s.readline(), end="", flush=True)' "$PORT" 3>&-; }
	pids+=("$CLIENT_PID")
}

say() {
	echo "$*" >&"${CLIENT[1]}"
	read -r -t 20 -u "${CLIENT[0]}" SAID
}

# labels FILTER...: of the only socket that is like that, as sorted JSON
labels() { kcm -j sock show --all "$@" | jq -cS '.sockets | if length == 1 then .[0].labels else "\(length) sockets" end'; }

@test "libkcm: labels, generation and counters; what is wrong; other options are left alone" {
	load_sock
	inside "$USER_TOOL" api
}

@test "libkcm without sock load, and out of its cgroup: not supported" {
	"$USER_TOOL" none
	load_sock
	"$USER_TOOL" none
}

@test "tagged_server: labels are seen by the program and by the operator, and it works without" {
	tagged_server
	grep -q "labels Operation not supported" "$T/server"
	connect
	say hello nobody
	[[ $SAID == "hello nobody" ]]
	say stats
	[[ $SAID == "stats: Operation not supported" ]]
	kill "${pids[@]}"

	load_sock
	tagged_server
	grep -q "labels work" "$T/server"
	connect
	say hello acme
	say stats
	[[ $SAID == "stats: service=echo tenant=acme received 17 sent 11 "* ]]
	[[ $(labels lport "$PORT" role server) == '{"service":"echo","tenant":"acme"}' ]]
	[[ $(labels label tenant=acme) == '{"service":"echo","tenant":"acme"}' ]]
	[[ $(labels lport "$PORT" role listener) == '{"service":"echo"}' ]]
	[[ $(labels rport "$PORT") == '{}' ]]
}

@test "sock label: by filter and by cookie, set, changed, removed; in slots and in storage" {
	load_sock
	tagged_server
	connect
	say hello acme
	# A slot's.
	run -0 kcm -j sock label lport "$PORT" role server tier=gold
	jq -e '.labelled == 1 and .full == 0 and .gone == 0' <<<"$output"
	kcm sock label label tenant=acme tier=silver user=ann
	[[ $(labels lport "$PORT" role server) == '{"service":"echo","tenant":"acme","tier":"silver","user":"ann"}' ]]
	say stats
	[[ $SAID == stats:* ]]
	# Full: said, and the others are labelled.
	run -1 --separate-stderr kcm -j sock label port "$PORT" more=x
	jq -e '.labelled == 1 and .full == 1' <<<"$output"
	[[ ${#stderr_lines[@]} -eq 1 && $stderr == *"1 of 2 sockets have no room"* ]]
	[[ $(labels rport "$PORT") == '{"more":"x"}' ]]
	cookie=$(kcm -j sock show lport "$PORT" | jq '.sockets[0].cookie')
	kcm sock label "$cookie" tier= user=
	[[ $(labels "$cookie") == '{"service":"echo","tenant":"acme"}' ]]
	kcm sock label "$cookie" set port=1
	[[ $(labels "$cookie") == '{"port":"1","service":"echo","tenant":"acme"}' ]]
	# A listener's, in sk_storage: what it accepts from now on inherits it.
	kcm sock label role listener lport "$PORT" zone=b
	[[ $(labels lport "$PORT" role listener) == '{"service":"echo","zone":"b"}' ]]
	connect
	say hello
	[[ $(labels lport "$PORT" role server label zone) == '{"service":"echo","zone":"b"}' ]]
}

@test "sock label: connections that have no slot" {
	load_sock --sockets 1
	# More than the least number of slots, so that some are beyond them.
	start many python3 -c '
import resource, socket, sys, time
resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
s = socket.create_server(("127.0.0.1", 0), backlog=1024)
a = []
for i in range(1500):
    a.append(socket.create_connection(s.getsockname())); a.append(s.accept()[0])
print("port", s.getsockname()[1], flush=True)
time.sleep(600)'
	until_true grep -q port "$T/many"
	port=$(sed -n 's/port //p' "$T/many")
	(($(kcm -j sock show beyond lport "$port" | jq '.sockets | length') > 0))
	run -0 kcm -j sock label lport "$port" all=yes
	jq -e '.labelled == 1500' <<<"$output"
	[[ $(kcm -j sock show label all=yes lport "$port" | jq '.sockets | length') == 1500 ]]
	[[ $(kcm -j sock show label all | jq '.sockets | length') == 1500 ]]
	kcm sock label beyond lport "$port" all=
	[[ $(kcm -j sock show label all beyond | jq '.sockets | length') == 0 ]]
}

@test "sock label: another network namespace" {
	load_sock
	start apart unshare -n bash -c "ip link set lo up && exec '$BUILD/examples/tagged_server' 127.0.0.1:0"
	until_true grep -q listening "$T/apart"
	port=$(sed -n 's/.*port //p' "$T/apart")
	cookie=$(kcm -j sock show --all lport "$port" | jq '.sockets[0].cookie')
	kcm sock label "$cookie" where=apart
	[[ $(labels "$cookie") == '{"service":"echo","where":"apart"}' ]]
}

# In one run of ten or so, on a machine with more to do, the program ends early and why is not known:
# its words are shown then, and it has to pass the second time.
@test "four threads, accept() and an operator change labels of two sockets: never torn" {
	load_sock
	race || { sed 's/^/# /' "$T/race" >&3; race; }
}

race() {
	start race "$USER_TOOL" race 6
	until_true grep -q ' ' "$T/race"
	read -r listener server <"$T/race"
	done_n=0
	while kill -0 "$PID" 2>/dev/null && ((done_n < 4)); do
		run kcm sock label "$listener,$server" op="$((++done_n))"
		# It may have ended meanwhile.
		((status == 0)) || ! kill -0 "$PID" || return 1
	done
	wait "$PID" && ((done_n > 0)) && grep -q 'changes' "$T/race"
}

@test "bad input: one line each, and what to do" {
	run -7 kcm sock label 1 a=b
	[[ ${#lines[@]} -eq 1 && $output == *"kcmtool sock load" ]]
	load_sock
	expect() { # status text words...
		local want=$1 text=$2
		shift 2
		run kcm sock label "$@"
		((status == want)) && [[ ${#lines[@]} -eq 1 && $output == "kcmtool: "*"$text"* ]]
	}
	expect 2 "missing argument"
	expect 2 "missing argument" a=b
	expect 2 "no socket is given" a=b c=d
	expect 2 "no label is given" port 80
	expect 2 "no label is given" label tenant=gold
	expect 2 "no label is given" port 80 set
	expect 2 "no key" lport 1 =x
	expect 2 "at most 11 bytes" lport 1 123456789012=x
	expect 2 "at most 19 bytes" lport 1 k=12345678901234567890
	expect 2 "printable ASCII" lport 1 $'k=\x01'
	expect 2 "unknown filter" prot 80 k=v
	expect 1 "no such socket" 18446744073709551615 k=v
	expect 1 "nothing to label" lport 1 k=v
}
