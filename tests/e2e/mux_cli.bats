#!/usr/bin/env bats
# kcmtool mux: every verb, what it refuses and how it says so, with real traffic where that matters.
# All file names and names of muxes are of this test; nothing else is killed than what it started.
# Conditions for until_true are given as text, and variables of a test end with it.
# shellcheck disable=SC2016,SC2030,SC2031,SC2034,SC2154
bats_require_minimum_version 1.5.0
load common

WORKER=$BUILD/tests/mux_cli_worker
SERVER=$BUILD/tests/mux_cli_server
CLIENT=$ROOT/tests/e2e/mux_cli_client.py
BRIDGE_CLIENT=$ROOT/tests/e2e/mux_bridge_client.py

setup() {
	T=$BATS_TEST_TMPDIR
	echo A >"$T/tag"
	pids=()
}

teardown() {
	for pid in "${pids[@]}"; do
		kill -KILL "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
	for mux in "$PINS"/mux/*/; do
		[[ ! -d $mux ]] || kcm mux delete "$(basename "$mux")" --force >/dev/null
	done
	rm -f /run/kcm/mux/{x,y}.{sock,temporary,bridge}
	rmdir /run/kcm/mux 2>/dev/null || true
	[[ ! -d $CGROUP ]] || rmdir "$CGROUP"
	nothing_pinned
}

CGROUP=$(awk '/ - cgroup2 / { print $5; exit }' /proc/self/mountinfo)/kcm_test_${KCM_TEST_RUN:-0}_$$

# Wait for a condition, up to a minute: until COMMAND...
until_true() {
	local i
	for ((i = 0; i < 1200; i++)); do
		if "$@"; then return 0; fi
		sleep 0.05
	done
	echo "never true: $*" >&2
	return 1
}

# Start `mux run ARGS` and set runner, port. Its stderr is in $T/err.
run_mux() {
	"$KCMTOOL" mux run "$@" 2>"$T/err" 3>&- &
	runner=$!
	pids+=("$runner")
	until_true eval 'grep -q "listening on" "$T/err" || ! kill -0 $runner 2>/dev/null'
	port=$(sed -n 's/.*listening on .*:\([0-9]*\)$/\1/p;T;q' "$T/err")
	[[ -n $port ]] || { cat "$T/err" >&2; return 1; }
}

# End it and see that it ends well.
end_mux() { # [signal]
	local status=0
	kill -"${1:-TERM}" "$runner"
	wait "$runner" || status=$?
	cat "$T/err" >&2
	((status == 0))
}

client() { timeout 120 python3 "$CLIENT" 127.0.0.1 "$@"; }

workers_on() { # mux number
	[[ $(kcm -j mux workers "$1" | jq '[.workers[] | select(.state == "on")] | length') == "$2" ]]
}

# So many messages came, at least: clients are at work.
messages() { # mux number
	(($(kcm -j mux stats "$1" | jq .receive.messages) >= $2))
}

pids_of() { kcm -j mux workers "$1" | jq -r '.workers[].pid' | sort -n | xargs; }

ask() { # port body: prints the answer's body
	timeout 120 python3 - "$1" "$2" <<-'P'
		import socket, struct, sys
		s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
		body = sys.argv[2].encode()
		s.sendall(struct.pack(">I", len(body)) + body)
		data = b""
		while len(data) < 4 or len(data) < 4 + struct.unpack_from(">I", data)[0]:
		    more = s.recv(65536)
		    if not more:
		        break
		    data += more
		print(data[4:].decode())
	P
}

# ---- create, delete, show ----

@test "create, show, delete: what was asked for is there, and then it is not" {
	run -0 kcm -j mux create x frame "kafka max=1M" dispatch key:4:2 conns 100 workers 5 \
		arena 8M big 4M tx-limit 64K timeout 1500ms grace 70us at-least-once keep-on-error
	jq -e '.schema == 1 and .created == "x"' <<<"$output"
	run -0 kcm -j mux show x
	jq -e '.schema == 1 and .dispatch == "key:4:2" and .mode == "ring" and .owner_pid == null and
		.limits.conns == 100 and .limits.workers == 5 and .limits.message_bytes == 1048576 and
		.limits.tx_bytes == 65536 and .limits.timeout == "1500ms" and .limits.grace == "70us" and
		.delivery == "at least once" and .on_error == "keep" and
		.memory.big_bytes == 4194304 and .memory.maps_bytes > 8388608 and
		.memory.arena_used == 0 and (.chunks | length) == 3' <<<"$output"
	kcm -j mux | jq -e '.muxes | length == 1 and .[0].name == "x"'
	kcm mux list | grep -q '^x '
	run -0 kcm mux delete x
	kcm -j mux | jq -e '.muxes == []'
	nothing_pinned
}

@test "each dispatch policy is made as it is written" {
	for who in least robin conn key:0:8; do
		kcm mux create x frame u32be dispatch "$who" >/dev/null
		[[ $(kcm -j mux show x | jq -r .dispatch) == "$who" ]]
		kcm mux delete x >/dev/null
	done
	kcm mux create x frame u32be key 1:2
	[[ $(kcm -j mux show x | jq -r .dispatch) == key:1:2 ]]
}

@test "create refuses what cannot be, says why, and leaves nothing" {
	while IFS='|' read -r code args want; do
		eval "run -$code kcm mux create $args"
		echo "$args: $output" >&2
		[[ $output == "kcmtool: "*"$want"* ]]
		[[ $(wc -l <<<"$output") == 1 ]]
		nothing_pinned
	done <<-'TABLE'
		2|x frame "len width=9"|width=9 is not a number from 1 to 8
		2|x frame nosuch|kcmtool mux frames
		2|x|missing option 'frame'
		2|x frame u32be dispatch random|least, robin, conn or key
		2|x frame u32be dispatch key|key OFF:BYTES
		2|x frame u32be key 4|OFF:BYTES
		2|x frame u32be key 0:9|1 to 8 bytes
		2|x frame u32be dispatch conn key 0:4|only dispatch key has a key
		2|x frame u32be mode fast|ring or strparser
		2|x frame u32be conns 0|a number from 1 to
		2|x frame u32be workers 64|a number from 1 to 63
		2|x frame u32be arena 1M|a number from
		2|x frame u32be big 1M|less than the longest message
		2|x frame u32be timeout 5|a time such as
		2|x frame u32be timeout 0s|a time such as
		2|x frame u32be grace 5h|a time such as
		2|../x frame u32be|cannot be the name of a mux
		2|x frame u32be conms 5|try: conns
	TABLE
}

@test "create twice is refused and names what is there" {
	kcm mux create x frame u32be
	run -1 kcm mux create x frame u16be
	[[ $output == "kcmtool: cannot create mux 'x' ($PINS/mux/x: File exists); try: kcmtool mux show x"* ]]
}

@test "every verb says of a mux that is not there that it is not loaded, and exits 7" {
	for verb in show conns workers stats watch delete "attach --port 1" "detach --port 1"; do
		read -r word rest <<<"$verb"
		# shellcheck disable=SC2086
		run -7 kcm mux "$word" nope $rest
		[[ $output == "kcmtool: mux 'nope' is not loaded ($PINS/mux/nope: No such file or directory); try: kcmtool mux create nope frame u32be" ]]
	done
	run -7 kcm mux run nope listen 127.0.0.1:0 -- "$WORKER"
	run -1 kcm mux bridge nope
	[[ $output == *"no owner"*"try: kcmtool mux run nope"* ]]
}

@test "without privilege every verb exits 4 and says what is missing" {
	kcm mux create x frame u32be
	for verb in "create y frame u32be" "show x" "conns x" "workers x" "stats x" "watch x" \
		"delete x" "attach x --port 9" "run x listen 127.0.0.1:0 -- true" bench; do
		# shellcheck disable=SC2086
		run -4 as_user none "$KCMTOOL" mux $verb
		[[ $output == "kcmtool: "*"cap_"* ]]
	done
	[[ -d $PINS/mux/x ]]
}

@test "frames lists all presets, and each of them makes a mux" {
	kcm -j mux frames | jq -e '.schema == 1 and (.frames | length) >= 20'
	for frame in $(kcm -j mux frames | jq -r '.frames[].name'); do
		kcm mux create x frame "$frame" >/dev/null
		kcm mux delete x >/dev/null
	done
}

@test "nothing but our own lines goes to stderr when things work" {
	[[ -z $(kcm mux create x frame u32be 2>&1 >/dev/null) ]]
	for verb in show conns workers stats; do
		[[ -z $(kcm mux $verb x 2>&1 >/dev/null) ]]
	done
}

# ---- run ----

@test "run: several connections, several processes, every answer right; the counters agree" {
	run_mux x listen 127.0.0.1:0 frame u32be workers 3 -- "$WORKER" --tag "$T/tag"
	run -0 client "$port" 5 400
	[[ $output == "answered 2000 tags A missing 0" ]]
	kcm -j mux show x | jq -e ".owner_pid == $runner and .owner == \"kcmtool\" and .messages == 2000"
	kcm -j mux workers x | jq -e '.schema == 1 and (.workers | length) == 3 and
		([.workers[].msgs] | add) == 2000 and ([.workers[].replies] | add) == 2000 and
		([.workers[].pid] | unique | length) == 3 and
		all(.workers[]; .command == "mux_cli_worker" and .in_hand == 0) and
		all(.workers[] | select(.msgs > 0); .p50_ns > 0 and .p50_ns <= .p99_ns and .p99_ns <= .max_ns)'
	kcm -j mux stats x | jq -e '.schema == 1 and .receive.messages == 2000 and
		.transmit.messages == 2000 and .connections.attached == 5 and .workers.messages == 2000 and
		.workers.lost == 0 and .errors.bad_frames == 0'
	end_mux
	nothing_pinned
	[[ -z $(find /run/kcm -type f -o -type s) ]]
}

@test "run: IPv6, all addresses and several of them; messages of more than 68 KiB" {
	run_mux x listen '[::1]:0,127.0.0.1:0' frame u32be workers 2 -- "$WORKER"
	six=$(sed -n 's/.*listening on \[::1\]:\([0-9]*\)$/\1/p' "$T/err")
	four=$(sed -n 's/.*listening on 127.0.0.1:\([0-9]*\)$/\1/p' "$T/err")
	timeout 240 python3 "$CLIENT" ::1 "$six" 2 50
	timeout 240 python3 "$CLIENT" 127.0.0.1 "$four" 2 50 --max 1000000
	end_mux
	run_mux x listen '*:0' frame u32be workers 1 -- "$WORKER"
	timeout 240 python3 "$CLIENT" 127.0.0.1 "$port" 1 10
	end_mux INT
}

@test "conns: who is connected, by every filter" {
	run_mux x listen 127.0.0.1:0 frame u32be workers 1 -- "$WORKER"
	exec 7<>"/dev/tcp/127.0.0.1/$port" 8<>"/dev/tcp/127.0.0.1/$port"
	printf '\0\0\0\3abc\0\0\0\144half' >&7
	until_true eval '[[ $(kcm -j mux conns x partial | jq ".conns | length") == 1 ]]'
	kcm -j mux conns x | jq -e ".conns | length == 2 and all(.[]; .state == \"active\" and .local == \"127.0.0.1:$port\")"
	kcm -j mux conns x partial | jq -e '.conns[0] | .msgs == 1 and .bytes == 7 and .partial_bytes == 8 and
		.partial_needs == 104 and .partial_ns > 0 and .age_ns >= .partial_ns'
	peer=$(kcm -j mux conns x partial | jq -r '.conns[0].peer')
	kcm -j mux conns x peer "$peer" | jq -e '.conns | length == 1'
	kcm -j mux conns x peer 127.0.0.1 | jq -e '.conns | length == 2'
	kcm -j mux conns x peer 127.0.0.2 | jq -e '.conns == []'
	kcm -j mux conns x port "$port" | jq -e '.conns | length == 2'
	kcm -j mux conns x port 1 | jq -e '.conns == []'
	kcm -j mux conns x held | jq -e '.conns == []'
	kcm -j mux conns x state active limit 1 | jq -e '.conns | length == 1'
	run -2 kcm mux conns x state asleep
	[[ $output == *"bad value 'asleep' (state: no such state)"* ]]
	exec 7>&- 8>&-
	end_mux
}

@test "conns and stats show a stream that is held, and why" {
	run_mux x listen 127.0.0.1:0 frame u32be arena 6M workers 1 stop-timeout 300ms -- "$WORKER" --hog
	timeout 240 python3 "$CLIENT" 127.0.0.1 "$port" 2 100000 --depth 100000 --max 20000 --lossy 3>&- &
	pids+=($!)
	until_true eval '[[ $(kcm -j mux conns x held | jq ".conns | length") == 2 ]]'
	kcm -j mux conns x held | jq -e 'all(.conns[]; .hold == "space" and .holds > 0)'
	kcm -j mux show x | jq -e '.conns_held == 2 and .in_hand + .waiting > 0 and .memory.arena_used > 0'
	kcm -j mux stats x | jq -e '.holds.now_space == 2 and .connections.held == 2'
	kill -TERM "$runner"
	status=0
	wait "$runner" || status=$?
	((status == 1))
	grep -q "stopped with unfinished messages" "$T/err"
}

@test "run starts a crashed worker again and says so; the others go on" {
	run_mux x listen 127.0.0.1:0 frame u32be workers 2 -- "$WORKER"
	until_true workers_on x 2
	before=$(pids_of x)
	ask "$port" die || true
	until_true eval 'workers_on x 2 && [[ $(pids_of x) != "$before" ]]'
	[[ $(pids_of x | tr ' ' '\n' | sort - <(tr ' ' '\n' <<<"$before") | uniq -d | wc -l) == 1 ]]
	grep -qE "worker [01] \(pid [0-9]+\) was killed by signal 9 \(Killed\); starting it again in 100 ms" "$T/err"
	kcm -j mux stats x | jq -e '.workers.deaths == 1 and .workers.lost == 1'
	client "$port" 3 100
	end_mux
}

# Reload twice under load: nothing lost, nobody of the old ones left, both versions answered.
reload_under_load() { # worker options
	run_mux x listen 127.0.0.1:0 frame u32be workers 3 -- "$WORKER" --tag "$T/tag" "$@"
	until_true workers_on x 3
	before=$(pids_of x)
	client "$port" 6 0 --seconds 6 >"$T/out" 3>&- &
	client=$!
	pids+=("$client")
	until_true messages x 50
	echo B >"$T/tag"
	kill -HUP "$runner"
	until_true eval '[[ -z $(pids_of x | tr " " "\n" | sort - <(tr " " "\n" <<<"$before") | uniq -d) ]]'
	workers_on x 3
	kill -0 "$client" # the old ones went while there was work all the time
	before=$(pids_of x)
	kill -HUP "$runner"
	until_true eval '[[ -z $(pids_of x | tr " " "\n" | sort - <(tr " " "\n" <<<"$before") | uniq -d) ]]'
	wait "$client"
	cat "$T/out" >&2
	grep -q "tags AB missing 0" "$T/out"
	kcm -j mux stats x | jq -e '.connections.closed == 6 and .workers.lost == 0 and .workers.redelivered == 0'
	end_mux
}

@test "reload under load loses no message: workers that catch SIGTERM" { reload_under_load --term; }

@test "reload under load loses no message: workers that do not" { reload_under_load; }

@test "reload under load loses no message: workers that do not leave" { reload_under_load --stay; }

@test "reload with slow workers waits for what they have in hand" { reload_under_load --slow-us 3000; }

@test "reload replaces a worker that was killed and started again before, with nobody connected" {
	run_mux x listen 127.0.0.1:0 frame u32be workers 3 -- "$WORKER" --tag "$T/tag"
	until_true workers_on x 3
	killed=$(pids_of x | cut -d ' ' -f 1)
	kill -KILL "$killed"
	until_true eval '[[ " $(pids_of x) " != *" $killed "* ]] && workers_on x 3'
	before=$(pids_of x)
	kill -HUP "$runner"
	until_true eval '[[ -z $(pids_of x | tr " " "\n" | sort - <(tr " " "\n" <<<"$before") | uniq -d) ]]'
	until_true workers_on x 3
	end_mux
}

@test "reload to a program that does not start leaves the old workers at work" {
	run_mux x listen 127.0.0.1:0 frame u32be workers 2 -- "$WORKER" --tag "$T/tag"
	until_true workers_on x 2
	before=$(pids_of x)
	rm "$T/tag"
	kill -HUP "$runner"
	until_true eval '[[ $(grep -c "before it joined; the old one goes on" "$T/err") == 2 ]]'
	[[ $(pids_of x) == "$before" ]]
	client "$port" 2 100
	end_mux
}

@test "reload where the mux has no slots to spare: one after the other" {
	kcm mux create x frame u32be workers 2
	run_mux x listen 127.0.0.1:0 workers 2 -- "$WORKER"
	until_true workers_on x 2
	before=$(pids_of x)
	client "$port" 2 0 --seconds 2 >"$T/out" 3>&- &
	client=$!
	until_true messages x 50
	kill -HUP "$runner"
	until_true eval '[[ -z $(pids_of x | tr " " "\n" | sort - <(tr " " "\n" <<<"$before") | uniq -d) ]] && workers_on x 2'
	wait "$client"
	end_mux
	kcm mux show x
}

@test "SIGTERM: what was asked is answered before the end" {
	run_mux x listen 127.0.0.1:0 frame u32be workers 2 -- "$WORKER" --slow-us 20000
	client "$port" 4 10 >"$T/out" 3>&- &
	client=$!
	until_true messages x 40
	end_mux
	wait "$client"
	grep -q "answered 40 " "$T/out"
}

@test "SIGKILL of kcmtool leaves no process; the next run works" {
	run_mux x listen 127.0.0.1:0 frame u32be workers 3 -- "$WORKER"
	until_true workers_on x 3
	read -ra kids <<<"$(pids_of x)"
	client "$port" 2 0 --seconds 1 --lossy >/dev/null 3>&- &
	client=$!
	until_true messages x 50
	kill -KILL "$runner"
	wait "$runner" || true
	for kid in "${kids[@]}"; do
		until_true eval '[[ ! -e /proc/$kid/exe ]] || [[ $(cut -d" " -f3 /proc/$kid/stat) == Z ]]'
	done
	wait "$client"
	kcm -j mux show x | jq -e '.owner_pid == null'
	kcm -j status | jq -e '.instances[0].users == 0'
	run_mux x listen 127.0.0.1:"$port" frame u32be workers 3 -- "$WORKER"
	client "$port" 3 100
	end_mux
	nothing_pinned
}

@test "a mux that create made survives run, and run with frame does not touch it" {
	kcm mux create x frame u32be
	run -1 kcm mux run x listen 127.0.0.1:0 frame u32be -- "$WORKER"
	[[ $output == *"File exists"*"without frame, to use it"* ]]
	run_mux x listen 127.0.0.1:0 workers 1 -- "$WORKER"
	client "$port" 1 10
	end_mux
	kcm -j mux show x | jq -e '.owner_pid == null and .messages == 10'
}

@test "in use: a second owner and delete are refused and name the first; --force deletes" {
	run_mux x listen 127.0.0.1:0 frame u32be workers 1 -- "$WORKER"
	run -1 kcm mux run x listen 127.0.0.1:0 -- "$WORKER"
	[[ $output == *"cannot own mux 'x' ($PINS/mux/x: pid $runner (kcmtool) is its owner)"* ]]
	run -1 kcm mux delete x
	[[ $output == *"mux 'x' is in use ($PINS/mux/x: "*"pid $runner (kcmtool)"*"); try: stop it, or add --force" ]]
	run -0 kcm mux delete x --force
	client "$port" 1 10
	end_mux
}

@test "run says what is wrong with address, port, program, user and options, and leaves nothing" {
	run_mux y listen 127.0.0.1:0 frame u32be workers 1 -- "$WORKER"
	while IFS='|' read -r code args want; do
		eval "run -$code kcm mux run x $args"
		echo "$args: $output" >&2
		[[ $output == "kcmtool: "*"$want"* ]]
		[[ $(wc -l <<<"$output") == 1 ]]
		[[ ! -e $PINS/mux/x && ! -e /run/kcm/mux/x.temporary ]]
	done <<-TABLE
		1|listen 127.0.0.1:$port frame u32be -- $WORKER|Address already in use
		1|listen 192.0.2.1:1 frame u32be -- $WORKER|Cannot assign requested address
		2|listen 127.0.0.1 frame u32be -- $WORKER|not ADDR:PORT
		2|listen ::1:80 frame u32be -- $WORKER|not ADDR:PORT
		2|listen 127.0.0.1:http frame u32be -- $WORKER|not ADDR:PORT
		2|listen 127.0.0.1:70000 frame u32be -- $WORKER|not ADDR:PORT
		2|listen unix:/tmp/x frame u32be -- $WORKER|TCP connections only
		2|frame u32be -- $WORKER|missing option 'listen'
		2|listen 127.0.0.1:0 frame u32be|missing program after '--'
		2|listen 127.0.0.1:0 frame nosuch -- $WORKER|bad frame
		2|listen 127.0.0.1:0 workers 0 frame u32be -- $WORKER|a number from 1 to 63
		2|listen 127.0.0.1:0 stop-timeout 3 frame u32be -- $WORKER|a time such as
		2|listen 127.0.0.1:0 arena 8M -- $WORKER|option without effect (arena
		6|listen 127.0.0.1:0 user nosuchuser frame u32be -- $WORKER|no such user
		6|listen 127.0.0.1:0 frame u32be -- $T/nosuchprogram|No such file or directory
		6|listen 127.0.0.1:0 frame u32be -- $T/tag|Permission denied
	TABLE
	end_mux
	kcm mux create x frame u32be workers 2
	run -6 kcm mux run x listen 127.0.0.1:0 workers 3 -- "$WORKER"
	[[ $output == *"all of its worker slots are in use"* ]]
}

@test "run gives up on a program that never joins" {
	run -1 kcm mux run x listen 127.0.0.1:0 frame u32be workers 1 -- "$WORKER" --fail
	[[ $output == *"no worker joins the mux ($WORKER: exited with status 9); try: a program that uses libkcm" ]]
	nothing_pinned
}

@test "workers run as the user that was asked for, without a way back" {
	run_mux x listen 127.0.0.1:0 frame u32be workers 1 user nobody -- "$WORKER" --id
	[[ $(ask "$port" hello) == "-$(id -u nobody):$(id -g nobody)" ]]
	pid=$(pids_of x)
	grep -q "^NoNewPrivs:.*1$" "/proc/$pid/status"
	grep -q "^Seccomp:.*2$" "/proc/$pid/status"
	grep -qE "^CapEff:\s0+$" "/proc/$pid/status"
	grep -qE "^CapAmb:\s0+$" "/proc/$pid/status"
	[[ $(awk '/^Groups:/ { $1 = ""; print }' "/proc/$pid/status" | xargs) == "$(id -G nobody)" ]]
	end_mux
}

@test "the workers' filter refuses the option that crashes kernels, and no other" {
	"$KCMTOOL" mux run x listen 127.0.0.1:0 frame u32be workers 1 -- "$WORKER" --try-zerocopy \
		>"$T/out" 2>"$T/err" 3>&- &
	runner=$!
	pids+=("$runner")
	until_true test -s "$T/out"
	[[ $(head -n 1 "$T/out") == refused ]]
	end_mux
}

@test "more connections than the mux has: they wait, and are served" {
	run_mux x listen 127.0.0.1:0 frame u32be conns 4 workers 2 -- "$WORKER"
	for i in 1 2 3; do
		client "$port" 4 50 --close >"$T/out$i" 3>&- &
		clients[i]=$!
	done
	for i in 1 2 3; do wait "${clients[i]}"; done
	cat "$T"/out[123] >&2
	[[ $(grep -c "answered 200 .* missing 0" "$T"/out[123] | grep -c ":1$") == 3 ]]
	kcm -j mux stats x | jq -e '.connections.attached == 12'
	end_mux
}

@test "no descriptors left: connections wait in the backlog, and are served" {
	run_mux x listen 127.0.0.1:0 frame u32be conns 64 workers 2 -- "$WORKER"
	until_true workers_on x 2
	soft=$(prlimit --pid "$runner" --nofile --noheadings --output SOFT)
	used=$(find "/proc/$runner/fd" -mindepth 1 | wc -l)
	prlimit --pid "$runner" --nofile="$((used + 5)):"
	client "$port" 30 1 >"$T/out" 3>&- &
	client=$!
	until_true grep -q "cannot accept: Too many open files; new connections wait" "$T/err"
	prlimit --pid "$runner" --nofile="$((soft)):"
	wait "$client"
	grep -q "answered 30 .* missing 0" "$T/out"
	end_mux
}

# ---- attach ----

@test "attach: connections of a program's port are in the mux before it accepts them" {
	mkdir "$CGROUP"
	kcm mux create x frame u32be
	run -0 kcm -j mux attach x --port 18765 --cgroup "$CGROUP"
	jq -e '.attached == "x" and .port == 18765' <<<"$output"
	kcm mux attach x --port 18766 --cgroup "$(basename "$CGROUP")"
	[[ $(kcm -j mux show x | jq -r .attached_ports | tr , '\n' | sort | xargs) == "18765 18766" ]]
	(echo "$BASHPID" >"$CGROUP/cgroup.procs" && exec "$SERVER" x 18765 >"$T/out" 3>&-) &
	server=$!
	pids+=("$server")
	until_true grep -qs ready "$T/out"
	kill -STOP "$server" # it can't accept now, and the kernel does its part without it
	exec 7<>/dev/tcp/127.0.0.1/18765
	printf '\0\0\0\3abc' >&7
	until_true eval '[[ $(kcm -j mux conns x | jq ".conns | length") == 1 ]]'
	kcm -j mux stats x | jq -e '.connections.attached == 0 and .connections.now == 1'
	kill -CONT "$server"
	[[ $(timeout 120 head -c 8 <&7 | tail -c 4) == Sabc ]]
	until_true eval '[[ $(kcm -j mux stats x | jq .connections.attached) == 1 ]]'
	exec 7>&-
	timeout 240 python3 "$CLIENT" 127.0.0.1 18765 2 100
	run -1 kcm mux detach x --port 99
	[[ $output == *"port 99 is not attached to mux 'x'"* ]]
	kcm mux detach x --port 18765
	run -0 kcm -j mux detach x --port 18766
	jq -e '.ports_left == 0' <<<"$output"
	[[ -z $(find "$PINS/mux/x" -name 'cgroup_*') ]]
	kill "$server"
	wait "$server" || true
	kcm mux delete x
}

@test "attach refuses bad ports and cgroups; delete takes the attachment away" {
	kcm mux create x frame u32be
	run -2 kcm mux attach x
	[[ $output == *"missing option 'port'"* ]]
	run -2 kcm mux attach x --port 0
	run -2 kcm mux attach x --port 65536
	run -6 kcm mux attach x --port 9 --cgroup nosuch
	[[ $output == *"cannot open the cgroup ("*"/nosuch: No such file or directory)"* ]]
	run kcm mux attach x --port 9 --cgroup /tmp
	((status != 0))
	[[ $output == *"cannot open the cgroup (/tmp: "* ]]
	[[ $(kcm -j mux show x | jq -r .attached_ports) == null ]]
	mkdir "$CGROUP"
	kcm mux attach x --port 9 --cgroup "$CGROUP"
	bpftool -j cgroup show "$CGROUP" | jq -e 'map(select(.name == "kcm_sockops")) | length == 1'
	kcm mux delete x
	until_true eval '! bpftool cgroup show "$CGROUP" | grep -q kcm_sockops'
}

# ---- bridge ----

start_bridge() { # options
	"$KCMTOOL" mux bridge x "$@" 2>"$T/bridge" 3>&- &
	bridge=$!
	pids+=("$bridge")
	until_true grep -q "bridge at" "$T/bridge"
}

bridge_client() { timeout 240 python3 "$BRIDGE_CLIENT" "$@"; }

@test "bridge: two Python clients answer everything, messages of many parts too" {
	run_mux x listen 127.0.0.1:0 frame u32be workers 1 -- sleep 1000
	start_bridge
	for tag in P Q; do
		bridge_client /run/kcm/mux/x.bridge --tag $tag --idle 8 >"$T/$tag" 3>&- &
		pids+=($!)
	done
	until_true workers_on x 2
	run -0 client "$port" 6 200
	[[ $output == "answered 1200 tags PQ missing 0" ]]
	run -0 client "$port" 2 30 --max 700000
	[[ $output == "answered 60 "*"missing 0" ]]
	kcm -j mux workers x | jq -e '[.workers[].msgs] | add == 1260'
	kill "$bridge"
	wait "$bridge"
	wait "${pids[-1]}" "${pids[-2]}"
	cat "$T/P" "$T/Q" >&2
	[[ $(cat "$T/P" "$T/Q" | awk '{ n += $2 } END { print n }') == 1260 ]]
	[[ ! -e /run/kcm/mux/x.bridge ]]
	end_mux
}

# One client takes messages and dies; another one comes. Prints what the second saw.
bridge_death() { # options of the mux
	run_mux x listen 127.0.0.1:0 frame u32be "$@" workers 1 stop-timeout 500ms -- sleep 1000
	start_bridge
	bridge_client /run/kcm/mux/x.bridge --die >"$T/first" 3>&- &
	first=$!
	until_true workers_on x 1
	client "$port" 1 10 --lossy >"$T/out" 3>&- &
	client=$!
	wait "$first"
	bridge_client /run/kcm/mux/x.bridge --idle 3 >"$T/second" 3>&-
	wait "$client"
	cat "$T/out" "$T/second" >&2
}

@test "bridge: what a dead client had goes to the next one, at least once" {
	bridge_death at-least-once
	grep -q "answered 10 .* missing 0" "$T/out"
	grep -q "again [1-9]" "$T/second"
	kcm -j mux stats x | jq -e '.workers.redelivered > 0 and .workers.lost == 0'
	end_mux
}

@test "bridge: what a dead client had is lost and counted, at most once" {
	bridge_death
	lost=$(kcm -j mux stats x | jq .workers.lost)
	((lost > 0))
	grep -q "answered $((10 - lost)) .* missing $lost" "$T/out"
	grep -q "again 0" "$T/second"
	end_mux
}

@test "bridge: a client that talks nonsense is cut off, the others are not" {
	run_mux x listen 127.0.0.1:0 frame u32be workers 1 -- sleep 1000
	start_bridge --listen "$T/sock"
	bridge_client "$T/sock" --count 20 >"$T/out" 3>&- &
	good=$!
	until_true workers_on x 1
	run -0 bridge_client "$T/sock" --raw 00
	[[ $output == "messages 0 "* ]]
	grep -q "a bridge client is cut off: a datagram is shorter" "$T/bridge"
	until_true workers_on x 1
	client "$port" 1 20
	wait "$good"
	run -1 kcm mux bridge x --listen "$T/sock"
	[[ $output == *"cannot listen ($T/sock: Address already in use)"* ]]
	run -1 kcm mux bridge x --listen "$T/tag"
	[[ $output == *"cannot listen ($T/tag: File exists)"* && -f $T/tag ]]
	kill -KILL "$bridge"
	wait "$bridge" || true
	start_bridge --listen "$T/sock"
	end_mux
}

@test "bridge as the program of run" {
	run_mux x listen 127.0.0.1:0 frame u32be workers 2 -- "$KCMTOOL" mux bridge x --listen "$T/sock"
	until_true eval '[[ -S $T/sock.0 && -S $T/sock.1 ]]'
	for i in 0 1; do
		bridge_client "$T/sock.$i" --tag "$i" --idle 4 >/dev/null 3>&- &
		pids+=($!)
	done
	until_true workers_on x 2
	run -0 client "$port" 4 100
	[[ $output == "answered 400 tags 01 missing 0" ]]
	end_mux
}

# ---- watch, bench ----

@test "watch: rates as text and JSON, as often as asked for" {
	run_mux x listen 127.0.0.1:0 frame u32be workers 2 -- "$WORKER"
	client "$port" 3 0 --seconds 3 >/dev/null 3>&- &
	client=$!
	until_true messages x 100
	run -0 kcm -j mux watch x --count 3 --interval 200ms
	[[ $(wc -l <<<"$output") == 3 ]]
	jq -se 'all(.[]; .schema == 1 and .name == "x") and ([.[].total[0].msgs_s] | add) > 0 and
		all(.[]; (.workers | length) == 2 and (.conns | length) == 3)' <<<"$output"
	run -0 kcm mux watch x --count 2 --interval 100ms
	[[ $(grep -c "^mux x " <<<"$output") == 2 && $output != *$'\033'* ]]
	kcm mux watch x --interval 50ms | head -n 1 | grep -q "^mux x "
	run -0 script -qec "$KCMTOOL mux watch x --count 1 --interval 10ms" /dev/null
	[[ $output == *$'\033[H'* ]]
	run -2 kcm mux watch x --interval 5
	wait "$client"
	end_mux
}

@test "bench measures mode ring, and mode strparser or says that there is none" {
	run -0 --separate-stderr kcm -j mux bench time 500ms conns 4
	jq -e '.schema == 1 and ([.results[] | select(.mode == "ring")] | length) == 4 and
		all(.results[]; .msgs_per_s > 0 and .cpu_ns_per_msg > 0 and .p50_us <= .p99_us)' <<<"$output"
	jq -e '[.results[] | select(.mode == "strparser")] | length == 4' <<<"$output" ||
		[[ $stderr == *"mode strparser is not available"* ]]
	nothing_pinned
}
