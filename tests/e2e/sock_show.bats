#!/usr/bin/env bats
# kcmtool sock show, top, watch, stats: what they show of connections whose ends are counted by the
# test, and what they refuse. Only processes that the test started are ended.
# shellcheck disable=SC2016,SC2030,SC2031,SC2034,SC2154
bats_require_minimum_version 1.5.0
load common

CGROOT=$(awk '/ - cgroup2 / { print $5; exit }' /proc/self/mountinfo)
CG=kcm_sockshow_${KCM_TEST_RUN:-0}_$$
NS=kcmshow$$
PEER=$ROOT/tests/e2e/sock_show_peer.py
TMUX_SOCKET=kcmshow$$

setup() {
	T=$BATS_TEST_TMPDIR
	pids=()
	peer_pids=()
	made=0
	mkdir -p "$CGROOT/$CG/a" "$CGROOT/$CG/b"
}

teardown() {
	tmux -L "$TMUX_SOCKET" kill-server 2>/dev/null || true
	for pid in "${pids[@]}" "${peer_pids[@]}"; do
		kill -KILL "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
	[[ ! -e /run/netns/$NS ]] || ip netns del "$NS"
	for mux in "$PINS"/mux/*/; do
		[[ ! -d $mux ]] || kcm mux delete "$(basename "$mux")" --force >/dev/null
	done
	[[ ! -e $PINS/sock ]] || kcm sock unload >/dev/null
	rm -f /run/kcm/mux/show.*
	rmdir /run/kcm/mux 2>/dev/null || true
	rmdir "$CGROOT/$CG"/{a,b} "$CGROOT/$CG"
	nothing_pinned
}

until_true() { # COMMAND...: up to a minute
	local i
	for ((i = 0; i < 1200; i++)); do
		if "$@"; then return 0; fi
		sleep 0.05
	done
	echo "never true: $*" >&2
	return 1
}

load_sock() { kcm sock load --cgroup "$CG" "$@" >/dev/null; }

# A command in cgroup a or b.
within() { # a|b COMMAND...
	echo "$BASHPID" >"$CGROOT/$CG/$1/cgroup.procs" || return 1
	shift
	exec "$@"
}

# Start a peer; sets port. It stays until end_peers.
peer() { # a|b [ip netns exec NS] -- ARGUMENT...
	local in=$1 n=$((made++)) prefix=()
	shift
	while [[ $1 != -- ]]; do
		prefix+=("$1")
		shift
	done
	shift
	mkfifo "$T/in$n"
	(within "$in" "${prefix[@]}" "$PEER" "$@" <"$T/in$n" >"$T/out$n" 2>"$T/err$n" 3>&- 4>&-) &
	last_peer=$!
	peer_pids+=("$last_peer")
	eval "exec $((20 + n))>\"$T/in$n\""
	until_true eval '[[ -s $T/out'"$n"' ]] || ! kill -0 $last_peer 2>/dev/null'
	port=$(<"$T/out$n")
	[[ -n $port ]] || { cat "$T/err$n" >&2; return 1; }
}

end_peers() {
	local n
	for ((n = made - ${#peer_pids[@]}; n < made; n++)); do
		eval "echo >&$((20 + n)); exec $((20 + n))>&-"
	done
	for pid in "${peer_pids[@]}"; do
		wait "$pid" || true
	done
	peer_pids=()
}

show() { kcm -j sock show "$@"; } # as JSON
count() { show "$@" | jq '.sockets | length'; }
count_is() { [[ $(count "${@:2}") == "$1" ]]; } # N FILTER...
free_port() {
	python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# ---- refusals ----

@test "what is not loaded says so, and what to do" {
	for verb in show top watch stats; do
		run -7 --separate-stderr kcm sock "$verb"
		[[ -z $output ]]
		[[ $stderr == "kcmtool: sock is not loaded ($PINS/sock/default: No such file or directory); try: kcmtool sock load" ]]
	done
}

@test "wrong words are refused before anything else, with what is expected" {
	refused() { # expected COMMAND...
		local expected=$1
		shift
		run -2 --separate-stderr kcm sock "$@"
		[[ $stderr == "kcmtool: $expected" ]] || { echo "got: $stderr" >&2; return 1; }
	}
	for verb in show top watch; do
		refused "unknown filter 'idel'; try: idle" "$verb" 'idel > 3s'
		refused "bad value '30' for 'idle' (filter: no time with its unit: ns us ms s m h d); try: \"idle > 30s\"" "$verb" idle '>' 30
		refused "no value for 'port' (filter: it needs a value); try: port 80,443" "$verb" port
		refused "bad value 'nope' for 'cgroup' (filter: No such file or directory); try: cgroup system.slice/nginx.service" "$verb" cgroup nope
	done
	refused "bad value 'nope' (sort: no such field); try: kcmtool sock fields" show --sort nope
	refused "bad value 'nope' (sort: no such field); try: kcmtool sock fields" top --sort nope
	refused "bad value 'rtt:up' (sort: behind the colon is asc or desc); try: --sort rtt:desc" show --sort rtt:up
	refused "bad value '0' (limit: not in range or no number); try: a number from 1 to 4294967295" show --limit 0
	refused "bad value '5' (slow: no time with its unit: ns us ms s m h d); try: slow 5ms" watch slow 5
	refused "bad value '1ms' (interval: no time from 100ms to 1d); try: --interval 2s" top --interval 1ms
	refused "bad value 'x' (count: not in range or no number); try: a number from 1 to 18446744073709551615" top --count x
	refused "unknown option '-z'; try: kcmtool sock show --help" show -z
	refused "given twice: option 'listeners'; try: kcmtool sock show --help" show -l -l
}

@test "without privilege it says so" {
	load_sock
	for verb in show stats; do
		run -4 --separate-stderr as_user none "$KCMTOOL" sock "$verb"
		[[ $stderr == *cap_bpf* ]]
	done
}

@test "fields are listed, help and completion know them" {
	run -0 kcm sock fields
	[[ $output == *rx_bytes* && $output == *"idle > 30s"* ]]
	[[ $(kcm -j sock fields | jq -r '.fields[] | select(.field == "srtt").also') == rtt ]]
	run -0 kcm sock show --help
	[[ $output == *"-l, --listeners"* && $output == *"sock fields"* ]]
	run -0 kcm completion bash
	[[ $output == *'"sock show") words="cookie port lport'* && $output == *"-l"* ]]
}

# ---- show ----

@test "both ends of IPv4 and IPv6 connections are listed, with what they sent" {
	load_sock
	peer a -- pairs 3 1000 inet
	v4=$port
	peer a -- pairs 2 500 inet6
	v6=$port
	show port "$v4,$v6" >"$T/all"
	[[ $(jq '.schema' "$T/all") == 1 ]]
	[[ $(jq '.sockets | length' "$T/all") == 10 ]]
	[[ $(show lport "$v4" role server | jq -c '[.sockets[].rx_bytes] | sort') == '[1000,2000,3000]' ]]
	[[ $(show rport "$v4" role client | jq -c '[.sockets[].tx_bytes] | sort') == '[1000,2000,3000]' ]]
	[[ $(show lport "$v6" | jq -c '[.sockets[] | [.rx_bytes, .tx_bytes, .family, .role, .state]] | sort') == \
		'[[500,2,"inet6","server","established"],[1000,2,"inet6","server","established"]]' ]]
	[[ $(show lport "$v6" | jq -r '.sockets[0].local') == "[::1]:$v6" ]]
	# Each row has every field.
	jq -e '[.sockets[] | [has("cookie", "proto", "state", "role", "family", "local", "peer", "lport",
		"rport", "netns_cookie", "netns_own", "netns", "cgroup_id", "cgroup", "pid", "uid", "comm",
		"age_ns", "idle_ns", "rx_bytes", "tx_bytes", "rx_segs", "tx_segs", "rx_msgs", "tx_msgs",
		"frame", "unframed", "mux", "srtt_us", "min_rtt_us", "retrans", "cwnd", "mss", "rate",
		"connect_us", "err", "latency", "labels", "limit", "generation", "migrations", "adopted",
		"slot", "stored")] | all] | all' "$T/all"
	jq -e --argjson pid "${peer_pids[0]}" --arg cgroup "/$CG/a" --arg port "$v4" '[.sockets[]
		| select(.local | endswith($port)) | .pid == $pid and .comm != "" and .cgroup == $cgroup
		and .netns_own and .netns == null and .age_ns >= .idle_ns and .srtt_us > 0 and .cwnd > 0
		and .mss > 0 and .stored == "slot" and .labels == {} and .limit == null] | all' "$T/all"
	run -0 kcm sock show lport "$v4"
	[[ ${lines[0]} == STATE*ROLE*LOCAL*PEER*RX*TX*AGE*IDLE*PROCESS ]]
	[[ ${#lines[@]} == 4 ]]
	[[ $output != *NETNS* && $output != *LABELS* ]]
	end_peers
	until_true count_is 0
}

@test "a filter may be one word or several" {
	load_sock
	peer a -- pairs 4 100000 inet
	[[ $(count "rport=$port") == 4 ]]
	[[ $(count rport "$port") == 4 ]]
	[[ $(count "rport $port and tx_bytes > 250000") == 2 ]]
	[[ $(count "rport=$port" "tx_bytes>200000" 'age < 1h') == 2 ]]
	[[ $(count rport "$port" tx_bytes gt 200000 tx_bytes lt 400000) == 1 ]]
	[[ $(count rport "$port" peer 127.0.0.0/8) == 4 ]]
	[[ $(count rport "$port" peer "127.0.0.1:$port") == 4 ]]
	[[ $(count rport "$port" peer 10.0.0.0/8) == 0 ]]
	[[ $(count rport "$port" not peer 10.0.0.0/8) == 4 ]]
	[[ $(count port "$port" comm 'pyth*') == 8 || $(count port "$port" comm 'sock_show*') == 8 ]]
	[[ $(count port "$port" pid "${peer_pids[0]}" proto tcp state established) == 8 ]]
	[[ $(count port "$port" idle '>' 1h) == 0 ]]
	until_true count_is 8 port "$port" idle '>' 500ms
	cookie=$(show rport "$port" --limit 1 | jq '.sockets[0].cookie')
	[[ $(show "$cookie" | jq ".sockets[0].cookie") == "$cookie" ]]
	end_peers
}

@test "order and limit" {
	load_sock
	peer a -- pairs 5 100 inet
	[[ $(show rport "$port" --sort tx_bytes | jq -c '[.sockets[].tx_bytes]') == '[500,400,300,200,100]' ]]
	[[ $(show rport "$port" --sort tx_bytes:asc --limit 2 | jq -c '[.sockets[].tx_bytes]') == '[100,200]' ]]
	show port "$port" --sort local | jq -e '[.sockets[].lport] | . == sort'
	[[ $(count rport "$port" --limit 3) == 3 ]]
	show port "$port" --sort age:asc | jq -e '[.sockets[].age_ns] | . == sort'
	end_peers
}

@test "listeners, unconnected sockets, UDP" {
	load_sock
	peer a -- pairs 1 10 inet
	tcp=$port
	peer a -- udp
	udp=$port
	[[ $(show -l lport "$tcp" | jq -c '.sockets[0] | [.state, .role, .peer, .stored]') == \
		'["listen","listener","*:*","sk_storage"]' ]]
	[[ $(count -l) == 1 ]]
	[[ $(count lport "$tcp") == 1 ]]
	[[ $(count -a lport "$tcp") == 2 ]]
	[[ $(count state listen lport "$tcp") == 1 ]]
	[[ $(show proto udp | jq -c '.sockets[] | [.role, .tx_bytes, .tx_msgs, .rport]') == "[\"client\",5,1,$udp]" ]]
	end_peers
}

@test "cgroups and network namespaces have names" {
	load_sock
	ip netns add "$NS"
	ip -n "$NS" link set lo up
	peer a -- pairs 2 10 inet
	here=$port
	peer b ip netns exec "$NS" -- pairs 3 10 inet6
	there=$port
	[[ $(count cgroup "$CG") == 10 ]]
	[[ $(count cgroup "$CG/a") == 4 && $(count cgroup "$CG/b") == 6 ]]
	[[ $(count cgroup "/$CG/a") == 4 && $(count cgroup "$CGROOT/$CG/a/") == 4 ]]
	[[ $(count cgroup "$(stat -c %i "$CGROOT/$CG/b")") == 6 ]]
	[[ $(count cgroup "$CG/a,$CG/b") == 10 && $(count "cgroup!=$CG/a") == 6 ]]
	[[ $(count netns "$NS") == 6 && $(count not netns "/run/netns/$NS") == 4 ]]
	[[ $(show netns "$NS" | jq -c '[.sockets[] | [.netns, .netns_own]] | unique') == "[[\"$NS\",false]]" ]]
	run -0 kcm sock show
	[[ $output == *NETNS*"$NS"* ]]
	run -0 kcm sock show netns "$NS" -l
	[[ ${#lines[@]} == 2 ]]
	end_peers
}

@test "messages and latencies of a framed port" {
	load_sock
	port=$(free_port)
	kcm sock frame "$port" u32be >/dev/null
	peer a -- rpc "$port" 200 30
	show lport "$port" role server >"$T/server"
	jq -e '.sockets[0] | .rx_msgs == 200 and .tx_msgs == 200 and .rx_bytes == 2800 and
		.tx_bytes == 1400 and .unframed == null and .frame == "u32be"' "$T/server" ||
		{ cat "$T/server" >&2; return 1; }
	show rport "$port" role client | jq -e '.sockets[0] | .rx_msgs == 200 and .tx_msgs == 200'
	jq -e '.sockets[0].latency | .n > 0 and (.hist | add) == .n and .p50_ns <= .p99_ns and
		.p99_ns <= .max_ns and .avg_ns <= .max_ns and .max_ns > 30000000' "$T/server"
	[[ $(count port "$port" msgs = 400) == 2 ]]
	[[ $(count port "$port" lat_max '>' 30ms) == 2 ]]
	[[ $(count port "$port" framed) == 2 && $(count port "$port" unframed) == 0 ]]
	run -0 kcm sock show port "$port"
	[[ ${lines[0]} == *RX-MSGS*TX-MSGS*LATENCY*P99* && ${lines[1]} == *" 200 "* ]]
	end_peers
}

@test "a connection of a mux has the mux's count of messages" {
	load_sock
	# the owner accepts for the mux; where it runs does not matter to the client's own row
	(within a "$KCMTOOL" mux run show listen 127.0.0.1:0 frame u32be workers 1 -- \
		"$BUILD/examples/rpc_worker" >"$T/mux.out" 2>"$T/mux.err" 3>&- 4>&-) &
	runner=$!
	pids+=("$runner")
	until_true grep -q 'listening on' "$T/mux.err" || { cat "$T/mux.err" >&2; return 1; }
	mux_port=$(sed -n 's/.*listening on .*:\([0-9]*\)$/\1/p;T;q' "$T/mux.err")
	exec {c}<>"/dev/tcp/127.0.0.1/$mux_port"
	printf '\0\0\0\5hello\0\0\0\5world' >&"$c"
	until_true eval '[[ $(show lport "$mux_port" role server | jq ".sockets[0].mux_msgs") == 2 ]]'
	[[ $(show lport "$mux_port" role server | jq -c '.sockets[0] | [.mux, .rx_msgs]') == '["show",2]' ]]
	run -0 kcm sock show lport "$mux_port" role server
	[[ ${lines[0]} == *MUX* && ${lines[1]} == *show* ]]
	exec {c}>&-
	kill -TERM "$runner"
	wait "$runner" || true
}

@test "more connections than slots: all are listed, and a warning" {
	load_sock --sockets 1024
	peer a -- pairs 800 1 inet
	run -0 --separate-stderr kcm -j sock show port "$port"
	[[ $(jq '.sockets | length' <<<"$output") == 1600 ]]
	[[ $(jq '[.sockets[].cookie] | unique | length' <<<"$output") == 1600 ]]
	beyond=$(jq '[.sockets[] | select(.stored == "sk_storage")] | length' <<<"$output")
	((beyond >= 576))
	[[ $(jq '.beyond' <<<"$output") == "$beyond" ]]
	[[ $stderr == "kcmtool: warning: $beyond connections found no free slot: their state is in sk_storage, which is slower; try: kcmtool sock load --sockets 2048, after unload" ]]
	[[ $(count port "$port" beyond) == "$beyond" ]]
	show rport "$port" --sort tx_bytes:asc | jq -e '[.sockets[].tx_bytes] == [range(1; 801)]'
	end_peers
	until_true count_is 0
}

@test "sockets that get no storage are counted, and a warning" {
	load_sock
	ip netns add "$NS"
	ip -n "$NS" link set lo up
	ip netns exec "$NS" sh -c 'echo 64 >/proc/sys/net/core/optmem_max' 2>/dev/null ||
		skip "this kernel has one optmem_max for all namespaces"
	peer a ip netns exec "$NS" -- pairs 2 10 inet
	run -0 --separate-stderr kcm sock show
	[[ $stderr == *"times the kernel refused sk_storage: those sockets are not seen (net.core.optmem_max"* ]]
	[[ $(kcm -j sock stats 2>/dev/null | jq '.counters.no_storage') -gt 0 ]]
	end_peers
}

@test "stats have every counter, with what it counts" {
	load_sock
	peer a -- pairs 3 10 inet
	end_peers
	peer a -- refused
	end_peers
	kcm -j sock stats >"$T/stats"
	jq -e '.counters.opened == 6 and .counters.closed == 6 and .counters.failed == 1' "$T/stats" ||
		{ cat "$T/stats" >&2; return 1; }
	jq -e '.slots == 16384 and .slots_used == 0 and .watchers == 0' "$T/stats"
	for key in adopted beyond no_storage unparsed unframed stash_full limit_drops limit_paced \
		limit_refused swept events event_drops; do
		jq -e ".counters.$key == 0" "$T/stats"
	done
	run -0 kcm sock stats
	[[ $output == *COUNTER*VALUE*MEANING* && $output == *"sockets that are not seen"* ]]
}

# ---- watch ----

start_watch() { # ARGUMENT...
	"$KCMTOOL" "$@" >"$T/watch" 2>"$T/watch.err" 3>&- 4>&- &
	watcher=$!
	pids+=("$watcher")
	until_true eval '(($(kcm -j sock stats | jq .watchers) > '"${watchers:-0}"'))'
}

@test "watch tells of open and close with totals, and of what failed" {
	load_sock
	start_watch -j sock watch cgroup "$CG"
	peer a -- pairs 2 1000 inet
	server=$port
	end_peers
	peer a -- refused
	closed=$port
	end_peers
	until_true eval '[[ $(wc -l <"$T/watch") == 9 ]]'
	kill -INT "$watcher"
	wait "$watcher"
	jq -e '.schema == 1' "$T/watch" >/dev/null
	[[ $(jq -s -c '[.[] | .event] | group_by(.) | map([.[0], length])' "$T/watch") == \
		'[["close",4],["fail",1],["open",4]]' ]]
	[[ $(jq -s -c --argjson p "$server" '[.[] | select(.event == "close" and .lport == $p)
		| [.rx_bytes, .tx_bytes]] | sort' "$T/watch") == '[[1000,2],[2000,2]]' ]]
	[[ $(jq -s -c --argjson p "$closed" '[.[] | select(.event == "fail") | [.role, .rport == $p]]' \
		"$T/watch") == '[["client",true]]' ]]
	[[ $(kcm -j sock stats | jq .watchers) == 0 ]]
}

@test "watch as text: filter, count, one line each" {
	load_sock
	start_watch sock watch role server --count 4
	peer a -- quick 2
	wait "$watcher"
	mapfile -t lines <"$T/watch"
	[[ ${#lines[@]} == 5 ]]
	[[ ${lines[0]} == TIME*EVENT*ROLE*LOCAL*PEER*LIFE*RX*TX*PROCESS ]]
	for i in 1 2 3 4; do [[ ${lines[i]} == *server*"127.0.0.1:$port"* ]]; done
	[[ $(grep -c ' open ' "$T/watch") == 2 && $(grep -c ' close ' "$T/watch") == 2 ]]
	end_peers
}

@test "watch tells of slow answers" {
	load_sock
	port=$(free_port)
	kcm sock frame "$port" u32be >/dev/null
	start_watch -j sock watch port "$port" slow 20ms
	peer a -- rpc "$port" 20 50
	until_true grep -q '"event":"slow"' "$T/watch"
	end_peers
	kill -INT "$watcher"
	wait "$watcher"
	jq -s -e '[.[] | select(.event == "slow")] | length > 0 and all(.slow_ns >= 20000000)' "$T/watch"
	jq -s -e '[.[] | select(.event == "slow" and .role == "server")] | length > 0' "$T/watch"
}

@test "eight may watch; the place of one that was killed is free again" {
	load_sock
	for watchers in 0 1 2 3 4 5 6 7; do
		start_watch sock watch
	done
	run -1 --separate-stderr kcm sock watch
	[[ $stderr == "kcmtool: cannot watch ($PINS/sock/default: all 8 places are taken); try: end another kcmtool sock watch" ]]
	[[ $(kcm -j sock stats | jq .watchers) == 8 ]]
	kill -KILL "$watcher"
	until_true eval '[[ $(kcm -j sock stats | jq .watchers) == 7 ]]'
	rm "$T/watch" # the others go on with the old one
	watchers=7 start_watch -j sock watch --count 2
	peer b -- quick 1
	wait "$watcher"
	[[ $(wc -l <"$T/watch") == 2 ]] || { cat "$T/watch" "$T/watch.err" >&2; return 1; }
	end_peers
}

@test "events that come too fast are counted as lost" {
	load_sock
	start_watch -j sock watch
	kill -STOP "$watcher"
	peer a -- quick 5000 # 20,000 events of 700 bytes: more than the ring holds
	kill -CONT "$watcher"
	until_true grep -q '"event":"lost"' "$T/watch" ||
		grep -q 'was stopped for some time' "$T/watch.err" # so slow a machine
	end_peers
	kill -INT "$watcher"
	wait "$watcher"
	if grep -q '"event":"lost"' "$T/watch"; then
		lost=$(jq -s '[.[] | select(.event == "lost") | .lost] | add' "$T/watch")
		[[ $(kcm -j sock stats | jq .counters.event_drops) == "$lost" ]]
	fi
}

@test "watch ends when sock is unloaded" {
	load_sock
	start_watch sock watch
	kcm sock unload >/dev/null
	status=0
	wait "$watcher" || status=$?
	[[ $status == 7 ]]
	grep -q 'sock is not loaded' "$T/watch.err"
}

# ---- top ----

traffic() { # keeps sending on one connection until end_peers
	peer a -- pairs 2 100000 inet
}

@test "top without a terminal prints tables, or a document a line" {
	load_sock
	traffic
	run -0 kcm sock top rport "$port" --count 2 --interval 100ms
	[[ $(grep -c '^LOCAL ' <<<"$output") == 2 ]]
	[[ $output == *"2 connections"*"127.0.0.1:$port"* ]]
	kcm -j sock top port "$port" --count 3 --interval 100ms --limit 1 --sort tx_bytes >"$T/top"
	[[ $(wc -l <"$T/top") == 3 ]]
	jq -s -e 'all(.schema == 1 and .connections == 4 and (.sockets | length) == 1 and
		.sockets[0].tx_bytes == 200000 and .sort == "tx_bytes")' "$T/top"
	end_peers
}

naps() { grep -q nanosleep "/proc/$1/wchan"; } # PID

@test "top has the rates of what is sent between two looks" {
	load_sock
	"$KCMTOOL" -j sock top cgroup "$CG" --count 1 --interval 10s >"$T/top" 3>&- 4>&- &
	watcher=$!
	pids+=("$watcher")
	until_true naps "$watcher" # behind its first look
	peer a -- pairs 1 3000000 inet
	wait "$watcher"
	jq -e '.opened_s >= 0 and (.sockets | length) == 2' "$T/top"
	# 3 MB in a bit more than 10 s
	jq -e '[.sockets[] | .rx_s + .tx_s] | all(. > 0 and . <= 300001)' "$T/top"
	end_peers
}

screen() { tmux -L "$TMUX_SOCKET" capture-pane -p; }
screen_has() { screen | grep -qE -- "$1"; }
keys() { tmux -L "$TMUX_SOCKET" send-keys "$@"; }

start_top() { # columns lines ARGUMENT...
	local columns=$1 rows=$2
	shift 2
	tmux -L "$TMUX_SOCKET" -f /dev/null new-session -d -x "$columns" -y "$rows" \
		"'$KCMTOOL' sock top $*; echo \"exit \$?\"; stty -a; sleep 60"
	until_true screen_has 'kcmtool sock top'
}

@test "top on a terminal: order, filter, help, pause, quit" {
	load_sock
	peer a -- pairs 3 1000 inet
	start_top 80 24 port "$port"
	until_true screen_has "sort bytes_s +filter port $port"
	screen_has '^6 conns'
	[[ $(screen | grep -c "127.0.0.1:$port") == 6 ]]
	[[ $(screen | awk '{ if (length($0) > n) n = length($0) } END { print n }') -le 80 ]]
	screen_has '^LOCAL +PEER +RX/S +TX/S'
	keys u
	until_true screen_has 'sort srtt'
	keys R
	until_true screen_has 'sort srtt reversed'
	keys h
	until_true screen_has 'reverse the order'
	keys h
	until_true screen_has 'sort srtt'
	keys f C-u 'role server foo' Enter
	until_true screen_has "unknown filter 'foo'; try:"
	screen_has '^6 conns'
	keys f C-u "role server and port $port" Enter
	until_true screen_has '^3 conns'
	keys p
	until_true screen_has PAUSED
	end_peers
	keys p
	until_true screen_has '^0 conns'
	keys q
	until_true screen_has 'exit 0' || { screen >&2; return 1; }
	screen_has '(^| )echo( |$)' && screen_has '(^| )icanon( |$)'
}

@test "top on wide and on tiny terminals" {
	load_sock
	peer a -- pairs 3 1000 inet6
	start_top 200 20
	until_true screen_has '^STATE +ROLE +LOCAL .* RETR .* AGE +IDLE +PROCESS +LABELS'
	screen_has "server +\[::1\]:$port "
	tmux -L "$TMUX_SOCKET" resize-window -x 40 -y 6
	until_true screen_has '^LOCAL'
	[[ $(screen | awk '{ if (length($0) > n) n = length($0) } END { print n }') -le 40 ]]
	tmux -L "$TMUX_SOCKET" resize-window -x 10 -y 2
	sleep 0.3
	tmux -L "$TMUX_SOCKET" resize-window -x 80 -y 20
	until_true screen_has '^6 conns'
	keys q
	until_true screen_has '(^| )echo( |$)' # what stood above is out of sight
	end_peers
}

@test "the terminal is as before when top is killed by a signal" {
	load_sock
	for signal in TERM HUP SEGV; do
		start_top 80 40
		pid=$(tmux -L "$TMUX_SOCKET" list-panes -F '#{pane_pid}')
		kill -"$signal" "$(pgrep -P "$pid" -f 'sock top')"
		until_true screen_has '^exit '
		until_true screen_has '(^| )echo( |$)'
		screen_has '(^| )icanon( |$)'
		tmux -L "$TMUX_SOCKET" kill-server
	done
}
