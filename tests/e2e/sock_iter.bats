#!/usr/bin/env bats
# The files under /sys/fs/bpf/kcm/sock: refresh and snapshot for bpftool, show and json for cat; and
# sockets that are older than load. All sockets are of this test: in its cgroup, in namespaces of
# its own.
# shellcheck disable=SC2016,SC2030,SC2031,SC2034,SC2154
bats_require_minimum_version 1.5.0
load common

CONNS=$BUILD/tests/sock_iter_conns
SOCK=$PINS/sock
CGROUP=$(awk '/ - cgroup2 / { print $5; exit }' /proc/self/mountinfo)/kcm_iter_${KCM_TEST_RUN:-0}_$$

setup() {
	T=$BATS_TEST_TMPDIR
	pids=()
	fds=()
	mkdir "$CGROUP" "$CGROUP/in" "$CGROUP.out"
}

teardown() {
	for pid in "${pids[@]}"; do
		kill -KILL -- "-$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
	[[ ! -e $SOCK ]] || kcm sock unload >/dev/null
	until_true rmdir "$CGROUP/in" "$CGROUP.out"
	rmdir "$CGROUP"
	nothing_pinned
}

until_true() {
	local i
	for ((i = 0; i < 1200; i++)); do
		if "$@" 2>/dev/null; then return 0; fi
		sleep 0.05
	done
	echo "never true: $*" >&2
	return 1
}

# start NAME CGROUP PROGRAM ARGS: in a network namespace and a process group of its own, until it
# says that it is ready. finish NAME ends it.
start() {
	local name=$1 cgroup=$2 fd
	shift 2
	mkfifo "$T/$name.in"
	set -m
	(
		for fd in "${fds[@]}"; do exec {fd}>&-; done # or those would never end
		exec bash -c 'echo $$ >"$0/cgroup.procs" && exec unshare -n bash -c "ip link set lo up &&
			exec \"\$0\" \"\$@\"" "$@"' "$cgroup" "$@"
	) <"$T/$name.in" >"$T/$name.out" 2>"$T/$name.err" 3>&- &
	set +m
	pids+=($!)
	eval "pid_$name=$!"
	exec {fd}>"$T/$name.in"
	eval "fd_$name=$fd"
	fds+=("$fd")
	until_true grep -q ready "$T/$name.out" || { cat "$T/$name.err" >&2; return 1; }
}

finish() {
	local pid=pid_$1 fd=fd_$1
	eval "exec ${!fd}>&-"
	wait "${!pid}"
}

load_sock() { kcm sock load --cgroup "$CGROUP" "$@" >/dev/null; }

lines() { cat "$SOCK/json" "$SOCK/json_rest"; }

# What the connections' bytes must be by their ports. $1: a name for what jq gets in .
PATTERN='def bytes(p): p % 1000 + 1;
	def right: if .role == "server" then .rx_bytes == bytes(.rport) and
			.tx_bytes == 2 * bytes(.rport)
		elif .role == "client" then .tx_bytes == bytes(.lport) and
			.rx_bytes == 2 * bytes(.lport)
		else .rx_bytes == 0 and .tx_bytes == 0 end;'
# Rows of the snapshot, as those of json.
ROWS='.[] | .value | . as $row | .sock | . + .info |
	.role |= (ltrimstr("KCM_ROLE_") | ascii_downcase) | .local = $row.local | .peer = $row.peer'

snapshot() { bpftool map dump pinned "$SOCK/snapshot"; }

@test "bpftool prints the snapshot with names, enums and texts" {
	load_sock
	start a "$CGROUP" "$CONNS" hold 7000 20
	kcm sock label lport=7000 state=established team=blue >/dev/null
	run -0 cat "$SOCK/refresh"
	[[ $output == "41 sockets, 0 removed, 0 missed since load" ]]
	snapshot >"$T/dump"
	for text in '"state": "KCM_SK_ESTABLISHED"' '"state": "KCM_SK_LISTEN"' \
		'"role": "KCM_ROLE_LISTENER"' '"proto": "KCM_SK_TCP"' '"comm": "sock_iter_conns"' \
		'"unframed": "KCM_UNFRAMED_NO"' '"local": "127.0.0.1:7000"' '"key": "team"' \
		'"value": "blue"' '"adopted": false' '"peer": "*:*"'; do
		grep -qF "$text" "$T/dump" || { echo "no $text" >&2; return 1; }
	done
	run -0 jq -e "$PATTERN [$ROWS] | length == 41 and all(right) and
		(map(select(.role == \"client\" and .local == \"127.0.1.1:\\(.lport)\" and
			.peer == \"127.0.0.1:7000\")) | length == 20)" "$T/dump"
	finish a
}

@test "refresh removes what is gone and leaves the rest" {
	load_sock
	start a "$CGROUP" "$CONNS" hold 7000 30
	start b "$CGROUP" "$CONNS" hold 7000 12
	run -0 kcm sock snapshot -j
	[[ $(jq .sockets <<<"$output") == 86 && $(jq .removed <<<"$output") == 0 ]]
	finish a
	until_true eval '[[ $(cat "$SOCK/refresh") == "25 sockets, "* ]]'
	[[ $(snapshot | jq length) == 25 ]]
	finish b
	until_true eval '[[ $(cat "$SOCK/refresh") == "0 sockets, "* ]]'
	[[ $(snapshot | jq length) == 0 ]]
	[[ $(lines | wc -l) == 0 ]]
}

@test "text: a line for each socket, in columns" {
	load_sock
	start a "$CGROUP" "$CONNS" hold 7000 3
	run -0 cat "$SOCK/show" "$SOCK/show_rest"
	[[ ${lines[0]} == "PROTO STATE "*" LOCAL "*" PEER "*" PROCESS LABELS" ]]
	[[ ${#lines[@]} == 8 ]]
	[[ $(grep -cE '^tcp +established +[0-9]+ +[0-9]+ .* 127\.0\.0\.1:7000 .*/sock_iter_conns$' \
		<<<"$output") == 6 ]]
	grep -qE '^tcp +listen +0 +0 +0 +0 127\.0\.0\.1:7000 +\*:\* ' <<<"$output"
	finish a
}

@test "JSON is valid whatever is in names and labels" {
	cp "$CONNS" "$T/a\"b\\c"$'\t\x01\xc3\xa9\xff'
	load_sock
	start a "$CGROUP" "$T/a\"b\\c"$'\t\x01\xc3\xa9\xff' hold 7000 2
	kcm sock label lport=7000 set 'team=x"\y' 'tenant=a b' >/dev/null
	lines >"$T/json"
	[[ $(wc -l <"$T/json") == 5 ]]
	run -0 jq -es 'all(.comm == "a\"b\\c\t\u0001é\u00ff") and
		(map(select(.labels == {"team": "x\"\\y", "tenant": "a b"})) | length) >= 2' "$T/json"
	python3 -c 'import json, sys
for line in open(sys.argv[1], "rb"):
	json.loads(line.decode("utf-8", "strict"))' "$T/json"
	finish a
}

@test "12,000 sockets, of which most are beyond the slots: everywhere the same" {
	load_sock --sockets 1024
	start a "$CGROUP" "$CONNS" hold 7000 6000
	lines >"$T/json"
	[[ $(jq -s 'map(select(.state == "established")) | length' "$T/json") == 12000 ]]
	jq -es "$PATTERN all(right)" "$T/json"
	(($(jq -s 'map(select(.stored == "sk_storage")) | length' "$T/json") > 10000))
	cat "$SOCK/refresh"
	snapshot >"$T/dump"
	jq -e "$PATTERN [$ROWS] | all(right)" "$T/dump"
	diff <(jq .cookie "$T/json" | sort) <(jq '.[].key' "$T/dump" | sort)
	[[ -z $(jq .cookie "$T/json" | sort | uniq -d) ]]
	[[ $(cat "$SOCK/show" "$SOCK/show_rest" | grep -c ' established ') == 12000 ]]
	[[ $(kcm sock show -j | jq '.sockets | length') == 12000 ]]
	finish a
	until_true eval '[[ $(cat "$SOCK/refresh") == "0 sockets, "* ]]'
}

# Counters of a connection that opens or closes just now may be 0, or of one direction only; those
# of two connections never mix.
TORN='def bytes(p): p % 1000 + 1;
	def torn: if .role == "server" then
			(.rx_bytes != 0 and .rx_bytes != bytes(.rport)) or
			(.tx_bytes != 0 and .tx_bytes != 2 * bytes(.rport))
		elif .role == "client" then
			(.tx_bytes != 0 and .tx_bytes != bytes(.lport)) or
			(.rx_bytes != 0 and .rx_bytes != 2 * bytes(.lport))
		else .rx_bytes != 0 or .tx_bytes != 0 end;
	def ends(text; $port): text | endswith(":\($port)");
	def misnamed: (ends(.local; .lport) | not) or
		(.rport != 0 and (ends(.peer; .rport) | not));'

@test "no record is torn while connections open and close" {
	load_sock --sockets 1024
	start a "$CGROUP" "$CONNS" churn 7000
	start b "$CGROUP" "$CONNS" churn 7000
	for i in {1..20}; do
		cat "$SOCK/refresh" >/dev/null &
		cat "$SOCK/refresh" >/dev/null
		wait $!
		lines >>"$T/json"
		snapshot >>"$T/dump"
	done
	finish a
	finish b
	(($(tail -n 1 "$T/a.out") > 1000))
	jq -c "$TORN select(torn or misnamed)" "$T/json" >"$T/bad"
	jq -c "$TORN $ROWS | select(torn or misnamed)" "$T/dump" >>"$T/bad"
	(($(jq -s 'map(select(.rx_bytes > 0)) | length' "$T/json") > 20))
	[[ ! -s $T/bad ]] || { head -n 3 "$T/bad" >&2; return 1; }
	until_true eval '[[ $(cat "$SOCK/refresh") == "0 sockets, "* ]]'
}

@test "sockets older than load are adopted with their past" {
	start a "$CGROUP" "$CONNS" hold 7000 50
	start b "$CGROUP/in" "$CONNS" hold 7000 5
	start c "$CGROUP.out" "$CONNS" hold 7000 7
	load_sock
	lines >"$T/json"
	run -0 jq -es "$PATTERN length == 112 and all(.adopted and right) and
		(map(select(.role == \"server\")) | length == 55) and
		(map(select(.state == \"listen\")) | length == 2) and
		all(.comm == \"sock_iter_conns\" and .pid > 0 and .age_ns == null)" "$T/json"
	[[ $(kcm sock show -j | jq '.sockets | length') == 110 ]]
	kcm sock sweep >/dev/null
	diff <(jq .cookie "$T/json" | sort) <(lines | jq .cookie | sort)
	finish a
	finish b
	until_true eval '[[ $(cat "$SOCK/refresh") == "0 sockets, "* ]]'
	finish c
}

@test "what a listener that was adopted accepts is counted from its first byte" {
	start a "$CGROUP" "$CONNS" churn 7000
	load_sock
	until_true eval 'lines | jq -es "$PATTERN map(select(.role == \"server\" and
		(.adopted | not) and right and .comm == \"sock_iter_conns\")) | length > 0"'
	finish a
}

@test "sweeps while connections open and close: one place for each" {
	start a "$CGROUP" "$CONNS" churn 7000
	start b "$CGROUP" "$CONNS" churn 7000
	for i in {1..2}; do
		load_sock
		for j in {1..4}; do
			kcm sock sweep >/dev/null &
			kcm sock sweep >/dev/null
			wait $!
			cat "$SOCK/refresh" >/dev/null
			lines >"$T/json"
			# The two files are read one after the other, and a socket may move between
			# them; one that has two places for good is seen twice again.
			jq .cookie "$T/json" | sort | uniq -d >"$T/twice"
			if [[ -s $T/twice ]]; then
				sleep 0.2
				lines >"$T/json"
				[[ -z $(jq .cookie "$T/json" | sort | uniq -d | comm -12 - "$T/twice") ]]
			fi
		done
		((i == 2)) || kcm sock unload >/dev/null
	done
	finish a
	finish b
	until_true eval '[[ $(cat "$SOCK/refresh") == "0 sockets, "* ]]'
	[[ $(lines | wc -l) == 0 ]]
}

@test "what is not loaded can't be looked at" {
	run -7 --separate-stderr kcm sock snapshot
	[[ $stderr == *"sock is not loaded"*"kcmtool sock load"* ]]
	load_sock
	rm "$PINS/sock/default/refresh"
	run -7 --separate-stderr kcm sock snapshot
	[[ -z $output ]]
}
