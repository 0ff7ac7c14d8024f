#!/usr/bin/env bats
# migrate: a server says itself which generation a listener is of, that it accepts, that it drains.
# shellcheck disable=SC2016,SC2030,SC2031,SC2154 # for another shell; tests are subshells; stderr of run
bats_require_minimum_version 1.5.0
load common
load migrate_kit

SAY=$BUILD/tests/migrate_say
BESIDE=$BUILD/tests/migrate_say_beside
PORT=7777 # of migrate_say

teardown() {
	kcm migrate detach beside 2>/dev/null || true
	kcm migrate detach kcmtest 2>/dev/null || true
	[[ ! -e $PINS/sock ]] || kcm sock unload >/dev/null
	[[ ! -v MIG_DIR ]] || migrate_end
	nothing_pinned || { rm -rf "$PINS" && false; }
}

# It has mapped the state, and waits for more.
sleeps() { grep -q bpf-map "/proc/$1/maps" && grep -q '^State:.*S' "/proc/$1/status"; }

inside() { MIG_CG=$MIG_CG bash -c 'echo $$ >"$MIG_CG/cgroup.procs" && exec "$@"' bash "$@"; }

@test "generations by number, before listen() and after it; ready at once, or when proven" { "$SAY" numbers; }
@test "a listener drains: what it had, who gets the others, the operator's word" { "$SAY" drain; }
@test "a client's own listener drains: another one has it" { "$SAY" client; }
@test "what is wrong, and other sockets' and others' options" { "$SAY" wrong; }
@test "several instances in a cgroup, one with the operator's numbers" { "$BESIDE" several; }
@test "without migrate attach: not supported" { "$BESIDE" none; }

@test "100,000 things said, opened and closed at random: never one listener twice or nowhere" {
	for seed in 1 2 3 4 $RANDOM; do
		echo "seed $seed"
		"$BUILD/tests/migrate_say_race" random "$seed"
	done
}

@test "four threads say what they like of the same listeners" {
	for _ in 1 2 3; do
		run -0 "$BUILD/tests/migrate_say_race" race
		echo "$output"
		[[ $output =~ ^([0-9]+)" connections served meanwhile"$ ]]
		((BASH_REMATCH[1] > 100))
	done
}

@test "beside sock: both work on the same sockets, in whatever order they were loaded" {
	migrate_begin
	attach=(migrate attach --port "$PORT" --cgroup "$MIG_CG" --name beside --reuseport)
	for order in sock migrate; do
		[[ $order == migrate ]] || kcm sock load --cgroup "$MIG_CG" >/dev/null
		kcm "${attach[@]}"
		[[ $order == sock ]] || kcm sock load --cgroup "$MIG_CG" >/dev/null
		inside "$BESIDE" beside
		# One goes, the other stays.
		if [[ $order == sock ]]; then
			kcm sock unload >/dev/null
			inside python3 -c '
import socket
s = socket.create_server(("127.0.0.1", 7777), reuse_port=True)
s.setsockopt(0x6b636d, 16, 5)
try: s.setsockopt(0x6b636d, 1, b"a=b")
except OSError as e: assert e.errno == 92, e
else: raise SystemExit("sock still there")'
			kcm migrate detach beside
		else
			kcm migrate detach beside
			inside "$BUILD/tests/sock_label_user" api
			kcm sock unload >/dev/null
		fi
	done
	# Below one another: sock at the root, migrate further down.
	kcm sock load >/dev/null
	kcm "${attach[@]}"
	inside "$BESIDE" beside
}

@test "attach --no-setsockopt: not supported, and no program is there" {
	migrate_begin
	kcm migrate attach --port "$PORT" --cgroup "$MIG_CG" --name beside --reuseport --no-setsockopt
	[[ ! -e $PINS/migrate/beside/link_opt && -e $PINS/migrate/beside/link_ops ]]
	inside "$BESIDE" none
	kcm migrate detach beside
}

@test "a program of others, with what make install puts in place" {
	make -s -C "$ROOT" BUILD="$BUILD" install DESTDIR="$BATS_TEST_TMPDIR/root" PREFIX=/usr >/dev/null
	cd "$BATS_TEST_TMPDIR"
	cat >other.c <<-'END'
		#include <kcm_migrate.h>
		#include <errno.h>
		#include <sys/socket.h>
		int main(void)
		{
			int fd = socket(AF_INET, SOCK_STREAM, 0);

			return kcm_listener_register(fd, 1) != -EOPNOTSUPP ||
			       kcm_listener_generation(fd, 1) != -EOPNOTSUPP ||
			       kcm_listener_drain(fd) != -EOPNOTSUPP;
		}
	END
	cc -Wall -Wextra -Werror -Wpedantic -std=c11 -Iroot/usr/include -o other other.c \
		-Lroot/usr/lib -Wl,-rpath,"$PWD/root/usr/lib" -lkcm
	./other
}

@test "show and watch tell who drains; another language" {
	migrate_begin
	in_net "$KCMTOOL" migrate attach --port "$MIG_PORT" --cgroup "$MIG_CG" --name beside --reuseport \
		2>/dev/null
	coproc SERVER { MIG_CG=$MIG_CG exec bash -c 'echo $$ >"$MIG_CG/cgroup.procs" && exec "$@"' bash \
		nsenter --net="/run/netns/$MIG_NS" python3 -c '
import socket, sys
a, b = [socket.create_server(("127.0.0.1", int(sys.argv[1])), reuse_port=True) for _ in "ab"]
for s in a, b:
    s.setsockopt(0x6b636d, 16, 4000000000 - 2**32)
print("listening", flush=True)
sys.stdin.readline()
b.setsockopt(0x6b636d, 18, 1)
print("drains", flush=True)
sys.stdin.readline()' "$MIG_PORT" 3>&-; }
	pid=$SERVER_PID in=${SERVER[1]}
	read -r -t 120 -u "${SERVER[0]}" _
	kcm -j migrate show beside | jq -e '.generations | map(select(.role == "works")) == [.[] |
		select(.number == 4000000000 and .listeners == 2 and .draining == 0 and .state == "ready")]
		and any(.role == "works")'
	"$KCMTOOL" -j migrate watch beside --count 1 >"$MIG_DIR/watch" 3>&- &
	watch=$!
	wait_until "watch waits" sleeps "$watch"
	echo >&"$in"
	read -r -t 120 -u "${SERVER[0]}" _
	wait "$watch"
	jq -e '.event == "drain" and .listeners == 2 and .pid == '"$pid"' and .generation == 2' "$MIG_DIR/watch"
	kcm -j migrate show beside | jq -e '([.listeners[] | .state] | sort) == ["draining", "open"] and
		any(.generations[]; .number == 4000000000 and .listeners == 2 and .draining == 1)'
	exec {in}>&-
	wait "$pid"
}

@test "all drain and an anchor is there: connections wait, until one takes some again" {
	migrate_begin
	mode_attach --anchor
	cat >"$BATS_TEST_TMPDIR/server.py" <<-'END'
		import socket, sys, time
		a = socket.create_server(("127.0.0.1", int(sys.argv[1])), reuse_port=True)
		print("listens", flush=True)
		sys.stdin.readline()
		a.setsockopt(0x6b636d, 18, 1)
		print("drains", flush=True)
		sys.stdin.readline()
		for _ in range(10):
		    time.sleep(0.1)
		    a.setsockopt(0x6b636d, 18, 1)  # wakes the keeper: it shall hand them to nobody
		a.settimeout(0.1)
		try: a.accept(); print("one came", flush=True)
		except TimeoutError: print("none", flush=True)
		sys.stdin.readline()
		a.setsockopt(0x6b636d, 16, 0)
		a.settimeout(120)
		for _ in range(20):
		    c = a.accept()[0]
		    c.sendall(c.recv(100).upper())
		    c.close()
		sys.stdin.readline()
	END
	coproc SERVER { MIG_CG=$MIG_CG exec bash -c 'echo $$ >"$MIG_CG/cgroup.procs" && exec "$@"' bash \
		nsenter --net="/run/netns/$MIG_NS" python3 "$BATS_TEST_TMPDIR/server.py" "$MIG_PORT" 3>&-; }
	pid=$SERVER_PID in=${SERVER[1]} out=${SERVER[0]}
	server_says listens
	wait_until "the anchor is there" shows '.groups[0].anchor'
	server_says drains
	in_net python3 -c '
import socket, sys
all = [socket.create_connection(("127.0.0.1", int(sys.argv[1]))) for _ in range(20)]
for n, s in enumerate(all):
    s.sendall(b"number %d" % n)
print("begun", flush=True)
for n, s in enumerate(all):
    s.settimeout(120)
    assert s.recv(100) == b"NUMBER %d" % n, n
' "$MIG_PORT" >"$MIG_DIR/client" 3>&- &
	client=$!
	wait_until "clients wait" grep -qs begun "$MIG_DIR/client"
	server_says none
	shows '.groups[0] | .waiting == 20 and .parked == 20 and .unparked == 0 and .listeners == 1 and
		.fallback == 0'
	shows 'any(.generations[]; .state == "draining" and .draining == 1)'
	echo >&"$in"
	wait "$client"
	shows '.groups[0] | .waiting == 0 and .unparked == 20'
	exec {in}>&-
	wait "$pid"
}

shows() { # JQ
	in_net "$KCMTOOL" -j migrate show kcmtest >"$MIG_DIR/show.json" && jq -e "$1" "$MIG_DIR/show.json"
}

# The next thing it says, when it is told to go on.
server_says() { # TEXT
	local text
	[[ $1 == listens ]] || echo >&"$in"
	read -r -t 120 -u "$out" text
	[[ $text == "$1" ]]
}

# ---- the example: it restarts itself under load ----

example() { gen_run g1 "$PROGRAM" "127.0.0.1:$MIG_PORT" "$MIG_DIR/www/file"; }

# Without an anchor a group gets its selector when somebody listens.
example_begin() { # OPTION...: of attach
	migrate_begin
	PROGRAM=$MIG_DIR/restart_server
	cp "$BUILD/examples/restart_server" "$PROGRAM"
	[[ $# == 0 ]] || mode_attach "$@"
	example
	wait_until "the example listens" example_more 0
	(($#)) || mode_attach
}

# It replaces itself; the old process has ended when we return.
example_restart() {
	local n pid
	n=$(example_lines) pid=$(example_newest)
	kill -HUP "$pid"
	wait_until "another generation listens" example_more "$n"
	wait_until "the old one has ended" gone "$pid"
}

# All of them were served, by N processes.
none_lost() { # N
	cat "$MIG_DIR/load.json" "$MIG_DIR/g1.out"
	head -n 20 "$MIG_DIR/failures"
	jq -e --argjson n "$1" '.lost == 0 and .killed == 0 and .ok == .total and .total > 1000 and
		([.generations[] | keys[]] | length) == $n' "$MIG_DIR/load.json"
	# The first one may be older than attach; all others are of the number that they said.
	! tail -n +2 "$MIG_DIR/g1.out" | grep -v registered
}

restarts() { # N OPTION...
	local n=$1
	shift
	example_begin "$@"
	load_start ex
	for ((i = 0; i < n; i++)); do
		load_more 500
		example_restart
	done
	load_more 500
	load_end
	none_lost $((n + 1))
	in_net "$KCMTOOL" -j migrate show kcmtest >"$MIG_DIR/show.json"
	# The first one may be older than attach: before 6.12 nobody tells of its end.
	jq -e '.groups[0].refused_kind == 0 and .groups[0].refused_none == 0 and .groups[0].fallback == 0 and
		([.listeners[] | select(.state == "open")] | length) == 1' "$MIG_DIR/show.json"
	kcm migrate detach kcmtest
}

@test "the example replaces itself 20 times under load: no connection is lost" { restarts 20; }
@test "the same with an anchor" { restarts 10 --anchor; }

@test "a new program that does not start: the old one stays, and nobody notices" {
	example_begin
	load_start ex
	load_more 500
	mv "$PROGRAM" "$PROGRAM.good"
	for bad in '#!/bin/false' '' none; do
		rm -f "$PROGRAM"
		[[ $bad == none ]] || { printf '%s\n' "$bad" >"$PROGRAM" && chmod +x "$PROGRAM"; }
		n=$(grep -c "does not start" "$MIG_DIR/g1.out") || true
		kill -HUP "$(example_newest)"
		wait_until "it says so" more_failed "$n"
		load_more 500
	done
	rm -f "$PROGRAM"
	mv "$PROGRAM.good" "$PROGRAM"
	example_restart
	load_more 500
	load_end
	sed -i '/does not start/d' "$MIG_DIR/g1.out"
	none_lost 2
	kcm migrate detach kcmtest
}

more_failed() { (($(grep -c "does not start" "$MIG_DIR/g1.out") > $1)); }

@test "it ends and is started anew: drained, the anchor has who comes meanwhile" {
	example_begin --anchor
	load_start ex
	for ((i = 0; i < 5; i++)); do
		load_more 500
		pid=$(example_newest)
		kill "$pid"
		wait_until "it has ended" gone "$pid"
		sleep 0.1
		example
		wait_until "it listens" example_more 0
	done
	load_more 500
	load_end
	none_lost 6
	kcm migrate detach kcmtest
}

@test "without migrate attach it serves, and says that nobody knows of it" {
	migrate_begin
	PROGRAM=$BUILD/examples/restart_server
	example
	wait_until "the example listens" example_more 0
	grep -q "Operation not supported, listening on port $MIG_PORT" "$MIG_DIR/g1.out"
	load_start ex
	load_more 500
	load_end
	jq -e '.lost == 0' "$MIG_DIR/load.json"
}
