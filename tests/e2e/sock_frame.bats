#!/usr/bin/env bats
# kcmtool sock frame: messages of servers that know nothing of it, counted by sock and by clients.
# Nothing else is killed than what it started. Variables of a test end with it.
# shellcheck disable=SC2016,SC2030,SC2031,SC2034,SC2154
bats_require_minimum_version 1.5.0
load common

HERE=$ROOT/tests/e2e
CGROUP=$(awk '/ - cgroup2 / { print $5; exit }' /proc/self/mountinfo)/kcm_test_${KCM_TEST_RUN:-0}_$$

setup() {
	T=$BATS_TEST_TMPDIR
	pids=()
	mkdir "$CGROUP"
	kcm sock load --cgroup "$CGROUP" >/dev/null
}

teardown() {
	local pid i
	kcm sock unload >/dev/null 2>&1 || true
	echo 1 >"$CGROUP/cgroup.kill" # all of it: what timeout runs, what servers start
	for pid in "${pids[@]}"; do
		wait "$pid" 2>/dev/null || true
	done
	for ((i = 0; i < 1200; i++)); do
		if rmdir "$CGROUP" 2>/dev/null; then break; fi
		sleep 0.05
	done
	# Nothing ends a teardown but this.
	[[ ! -d $CGROUP ]] || return 1
	nothing_pinned
}

# Wait for a condition, up to a minute: until_true COMMAND...
until_true() {
	local i
	for ((i = 0; i < 1200; i++)); do
		if "$@"; then return 0; fi
		sleep 0.05
	done
	echo "never true: $*" >&2
	return 1
}

# Start a program in the cgroup; its pid is in $started. What it reads is a pipe that stays open.
start() { # log command...
	local log=$1
	shift
	mkfifo "$log.in"
	bash -c 'echo $$ >"$1/cgroup.procs"; shift; exec "$@"' start "$CGROUP" "$@" \
		<>"$log.in" >"$log" 2>"$log.err" 3>&- &
	started=$!
	pids+=("$started")
}

free_port() { python3 -c 'import socket; print(socket.create_server(("127.0.0.1", 0)).getsockname()[1])'; }

listens() { [[ -n $(ss -Hltn "sport = :$1") ]]; }

frame() { # port frame...
	kcm sock frame "$@" >/dev/null
}

start_server() { # mode: sets port
	start "$T/server" python3 "$HERE/sock_frame_server.py" "$1"
	until_true test -s "$T/server"
	port=$(cat "$T/server")
}

start_nginx() { # port [line of the server's block]
	mkdir -p "$T/nginx/logs" "$T/nginx/www"
	echo small >"$T/nginx/www/small"
	seq 40000 >"$T/nginx/www/big"
	cat >"$T/nginx/conf" <<-C
		daemon off; master_process off; pid $T/nginx/pid; error_log $T/nginx/log;
		events { }
		http {
			access_log off; keepalive_requests 1000000; gzip on; gzip_types *;
			client_body_temp_path $T/nginx/body; proxy_temp_path $T/nginx/proxy;
			fastcgi_temp_path $T/nginx/f; uwsgi_temp_path $T/nginx/u; scgi_temp_path $T/nginx/s;
			server {
				listen 127.0.0.1:$1;
				root $T/nginx/www;
				location = /empty { return 204; }
				location = /post { proxy_pass http://127.0.0.1:$1/small; proxy_method GET; proxy_pass_request_body off; proxy_set_header Content-Length ""; }
				location = /slow { limit_rate 1k; alias $T/nginx/www/big; }
			}
		}
	C
	# As root it would look for a user of its own, and could not read our folder.
	sed -i '1i user root;' "$T/nginx/conf"
	start "$T/nginx.out" nginx -p "$T/nginx" -c "$T/nginx/conf"
	until_true listens "$1" || { cat "$T/nginx.out.err" "$T/nginx/log" >&2; return 1; }
}

# Have a client do its work; its connection stays. What it counted is in $T/client.
client() { # mode port n
	start "$T/client" timeout 240 python3 "$HERE/sock_frame_client.py" "$@"
	until_true eval 'test -s "$T/client" || ! kill -0 $started 2>/dev/null' || true
	until_true test -s "$T/client" || { cat "$T/client.err" >&2; return 1; }
	cat "$T/client"
}

# Both ends of the client's connection have counted what the client has, and lost nothing.
counted() { # [why not framed any more, as JSON]
	local cport want
	want=$(cat "$T/client")
	cport=$(jq .port <<<"$want")
	kcm -j sock show -a port "$cport" >"$T/show"
	jq -c '.sockets[] | [.role, .rx_msgs, .tx_msgs, .unframed, .latency]' "$T/show"
	jq -e --argjson c "$want" --argjson why "${1:-null}" '
		[.sockets[] | select(.role == "client")] as $a | [.sockets[] | select(.role == "server")] as $b |
		($a | length) == 1 and
		all($a[]; .tx_msgs == $c.asked and .rx_msgs == $c.answered and .unframed == $why) and
		all($b[]; .rx_msgs == $c.asked and .tx_msgs == $c.answered and .unframed == $why)' "$T/show"
}

# Answers were timed, all or as many as the budget allows, within what the client saw around them. The
# maximum may be of one that was timed by the kernel's tick, of which the longest is 10 ms.
timed() {
	jq -e --argjson c "$(cat "$T/client")" '
		[.sockets[] | select(.role == "client")][0].latency as $a |
		[.sockets[] | select(.role == "server")][0].latency as $b |
		([$c.timed, 16] | min) as $least | $a.n >= $least and $a.n <= $c.timed and
		$b.n >= $least and $b.n <= $c.timed and $b.avg_ns > 0 and
		$a.avg_ns * $a.n <= $c.sum_ns + $a.n and $a.max_ns <= $c.max_ns + 10000000 and
		$b.avg_ns * $b.n <= $c.sum_ns + $b.n and $b.max_ns <= $c.max_ns + 10000000 and
		($a.hist | add) == $a.n' "$T/show"
}

@test "http1: nginx, one request after the other" {
	port=$(free_port)
	start_nginx "$port"
	frame "$port" http1
	client http "$port" 1000
	counted
	timed
}

@test "http1: nginx, requests in pipelines" {
	port=$(free_port)
	start_nginx "$port"
	frame "$port" http1
	client http-pipeline "$port" 5000
	counted
	jq -e 'all(.sockets[]; .latency.n > 0 and .latency.n <= .tx_msgs)' "$T/show"
}

@test "http1: nginx, 100 Continue is a message and not the answer" {
	port=$(free_port)
	start_nginx "$port"
	frame "$port" http1
	client http-continue "$port" 100
	counted
	jq -e '(.sockets | length) == 2 and all(.sockets[]; .latency.n <= 100 and .latency.n > 0)' "$T/show"
}

@test "http1: haproxy in front of nginx, each connection by itself" {
	port=$(free_port)
	front=$(free_port)
	start_nginx "$port"
	cat >"$T/haproxy" <<-C
		defaults
			mode http
			timeout connect 5s
			timeout client 100s
			timeout server 100s
		frontend f
			bind 127.0.0.1:$front
			default_backend b
		backend b
			http-reuse always
			server n 127.0.0.1:$port
	C
	start "$T/haproxy.out" haproxy -db -f "$T/haproxy"
	until_true listens "$front"
	frame "$front" http1
	frame "$port" http1
	client http "$front" 500
	counted
	timed
	# haproxy has all of them answered by nginx, over one connection; it tells by itself what it likes
	kcm -j sock show rport "$port" comm haproxy >"$T/back"
	jq -e '[.sockets[].tx_msgs] | add == 500' "$T/back"
	jq -e 'all(.sockets[]; .unframed == null and .rx_msgs == .tx_msgs)' "$T/back"
}

@test "http1: curl, with a reply on its way" {
	port=$(free_port)
	start_nginx "$port"
	frame "$port" http1
	cd "$T" || return
	start "$T/curl" curl -s --compressed -o "$T/o1" "http://127.0.0.1:$port/big" \
		-o "$T/o2" "http://127.0.0.1:$port/small" -o "$T/o3" "http://127.0.0.1:$port/none" \
		-o "$T/o4" "http://127.0.0.1:$port/empty" -o "$T/o5" "http://127.0.0.1:$port/slow"
	on_its_way() {
		kcm -j sock show port "$port" comm curl role client |
			jq -e '.sockets | length == 1 and .[0].tx_msgs == 5 and .[0].rx_msgs == 4 and
				.[0].unframed == null and .[0].latency.n == 4'
	}
	until_true on_its_way
	cmp "$T/o1" "$T/nginx/www/big"
}

@test "http1: another protocol behind Upgrade and CONNECT, and an end by close" {
	start_server http
	frame "$port" http1
	for mode in http-upgrade http-connect; do
		client "$mode" "$port" 200
		counted '"opaque"'
		rm "$T/client" "$T/client.in"
	done
	client http-close "$port" 1
	counted
	[[ $(kcm -j sock stats | jq '[.. | .unframed? // empty] | add') == 0 ]]
}

@test "resp: redis, pipelined and not, in small pieces" {
	port=$(free_port)
	start "$T/redis" redis-server --bind 127.0.0.1 --port "$port" --save '' --dir "$T"
	until_true listens "$port"
	frame "$port" resp
	client resp "$port" 3000
	counted
}

@test "resp: redis-cli" {
	port=$(free_port)
	start "$T/redis" redis-server --bind 127.0.0.1 --port "$port" --save '' --dir "$T"
	until_true listens "$port"
	frame "$port" resp
	start "$T/cli" redis-cli -p "$port"
	echo "SET k v" >"$T/cli.in" # it may ask for the server's commands at first
	until_true grep -q '^OK$' "$T/cli"
	cli() { kcm -j sock show port "$port" comm redis-cli role client | jq -c '.sockets | map([.tx_msgs, .rx_msgs, .latency.n, .unframed])'; }
	before=$(cli)
	jq -e 'length == 1 and .[0][0] == .[0][1] and .[0][3] == null' <<<"$before"
	for i in {1..300}; do echo "SET key$i $i"; done >"$T/cli.in"
	all_done() { [[ $(grep -c '^OK$' "$T/cli") == 301 ]]; }
	until_true all_done
	# Of a burst not every request is timed.
	jq -e --argjson before "$before" '.[0] as [$tx, $rx, $timed, $unframed] | $before[0] as $b |
		length == 1 and $tx == $b[0] + 300 and $rx == $b[1] + 300 and $unframed == null and
		$timed > $b[2] and $timed <= $b[2] + 300' <<<"$(cli)"
}

@test "memcached-text: memcached, both directions" {
	port=$(free_port)
	start "$T/memcached" memcached -u nobody -l 127.0.0.1 -p "$port" -U 0
	until_true listens "$port"
	frame "$port" memcached-text
	client memcached "$port" 3000
	counted
	jq -e '(.sockets | length) == 2 and all(.sockets[]; .latency.n > 0 and .latency.n <= 3000)' "$T/show"
}

@test "postgres: answers of one byte, then messages; and TLS instead" {
	start_server postgres
	frame "$port" postgres
	client postgres "$port" 300
	counted
	rm "$T"/{client,server}{,.in}
	start_server postgres-tls
	frame "$port" postgres
	client postgres-tls "$port" 100
	counted '"opaque"'
}

@test "a port's framing is replaced and taken away: its connections keep theirs" {
	port=$(free_port)
	start "$T/redis" redis-server --bind 127.0.0.1 --port "$port" --save '' --dir "$T"
	until_true listens "$port"
	frame "$port" resp
	start "$T/cli" redis-cli -p "$port"
	say() { # times
		local want=$1 i
		((want += $(grep -c '^OK$' "$T/cli" || true)))
		for ((i = 0; i < $1; i++)); do echo "SET k v"; done >"$T/cli.in"
		until_true eval '(($(grep -c "^OK$" "$T/cli") == want))'
	}
	sent() {
		kcm -j sock show port "$port" comm redis-cli role client |
			jq -e '.sockets | select(length == 1 and .[0].unframed == null)[0].tx_msgs'
	}
	messages() { # more than at first
		[[ $(sent) == $((first + $1)) ]]
	}
	say 10
	first=$(($(sent) - 10))
	run -0 kcm sock frame "$port" u32be
	[[ $output == *replaced* && $output == *"older ones keep"* ]]
	say 10
	messages 20
	kcm -j sock frame list | jq -e --argjson p "$port" \
		--argjson n $((2 * (first + 20))) '.frames | length == 2 and .[0].port == $p and
		.[0].frame == "u32be" and .[0].conns == 0 and .[1].port == null and .[1].frame == "resp" and
		.[1].conns == 2 and .[1].lost == 0 and .[1].rx_msgs == $n'
	run -0 kcm sock frame del "$port"
	say 10
	messages 30
	# u32be is used by nobody, and resp by two: another one does not get its number
	sleep 1.1
	number=$(kcm -j sock frame list | jq '.frames | length == 1 and .[0].number')
	frame 9 delim=nul
	kcm -j sock frame list | jq -e '.frames | length == 2 and .[0].number != .[1].number'
	say 10
	messages 40
	# one that comes now is not framed
	start "$T/cli2" redis-cli -p "$port"
	echo PING >"$T/cli2.in"
	until_true grep -q PONG "$T/cli2"
	kcm -j sock show port "$port" pid "$started" | jq -e '.sockets[0] | .frame == null and .tx_msgs == 0'
}

@test "equal descriptors share a number, and 63 is the most" {
	frame 1 u32be
	frame 2 thrift
	frame 3 "len width=4"
	frame 4 u32le
	kcm -j sock frame list | jq -e '[.frames[].number] == [1, 1, 1, 2]'
	run -0 kcm sock frame 2 kafka
	[[ $output == *"framed already"* ]]
	sleep 1.1 # a number that nobody has rests before it is given away
	local i
	for ((i = 4; i <= 65; i++)); do frame "$i" "fixed=$i"; done
	run -1 kcm sock frame 100 fixed=100
	[[ $output == *"63 framings"* ]]
	kcm -j sock frame list | jq -e '(.frames | length) == 65 and all(.frames[]; .port != 100) and
		([.frames[].number] | unique | length) == 63'
	kcm sock frame del 63 >/dev/null
	sleep 1.1
	frame 100 fixed=100
	kcm -j sock frame list | jq -e '.frames[-1] | .port == 100 and .frame == "fixed=100"'
}

@test "every preset is loaded, and sock load over it keeps them" {
	local n=0 preset
	for preset in $(kcm -j mux frames | jq -r '.frames[].name'); do
		frame $((7000 + n)) "$preset"
		n=$((n + 1))
	done
	kcm -j sock frame list >"$T/before"
	kcm sock load >/dev/null
	kcm -j sock frame list | diff - "$T/before"
	[[ $(jq '.frames | length' "$T/before") == "$n" ]]
}

@test "what can't be framed is refused, in one line, and nothing changes" {
	refused() { # status text arguments...
		local status=$1 text=$2
		shift 2
		run -"$status" --separate-stderr kcm sock frame "$@"
		[[ ${#stderr_lines[@]} == 1 && $stderr == *"$text"* && $stderr == *"; try: "* ]]
	}
	refused 2 "neither a preset" 80 nope
	refused 2 "the length field is at byte 60" 80 len off=60 width=4
	refused 2 "1 to 65535" 0 resp
	refused 2 "1 to 65535" 65536 resp
	refused 2 "bad arguments" 80
	refused 2 "bad arguments" del
	refused 1 "not framed" del 80
	kcm -j sock frame list | jq -e '.frames == []'
	kcm sock unload >/dev/null
	refused 7 "not loaded" 80 resp
	refused 7 "not loaded" list
	refused 7 "not loaded" del 80
}

@test "many at once: ports are all framed, and none twice" {
	local i
	framed() { # again, if others had the lock for all of its 10 s: a busy machine may be so slow
		until kcm sock frame "$1" "fixed=$(($1 % 4 + 1))" >/dev/null 2>"$T/$1.err"; do
			grep -q 'holds the lock' "$T/$1.err" || return 1
		done
	}
	for ((i = 1; i <= 12; i++)); do
		framed "$i" 3>&- &
	done
	wait
	kcm -j sock frame list | jq -e '(.frames | length) == 12 and ([.frames[].number] | unique | length) == 4 and
		all(.frames[]; .frame == "fixed=\(.port % 4 + 1)")'
}
