#!/usr/bin/env bats
# migrate of UDP ports: servers with sessions, and flows that each answer of is checked.
# shellcheck disable=SC2030,SC2031,SC2153,SC2154 # each test is a subshell; ROOT; stderr of run
bats_require_minimum_version 1.5.0
load common

PORT=18097
CGROUPS=$(awk '/ - cgroup2 / { print $5; exit }' /proc/self/mountinfo)
CG=$CGROUPS/kcm_mudp_${KCM_TEST_RUN:-$$-0}
NS=kcm-mudp-$$
RUN=/run/kcm

setup() {
	declare -gA IN=() OUT=() PID=() WORKERS=() CLIENT=()
	ip netns add "$NS"
	ip -n "$NS" link set lo up
	mkdir -p "$CG"
}

teardown() {
	local p
	kcm migrate detach t 2>/dev/null || true
	kcm migrate detach other 2>/dev/null || true
	for p in "${!CLIENT[@]}"; do client_end "$p"; done
	for p in "${!PID[@]}"; do stop "$p"; done
	ip netns del "$NS"
	soon rmdir "$CG"
	nothing_pinned
	[[ -z $(find $RUN -name 'migrate-*' 2>/dev/null) ]]
}

in_net() { nsenter --net="/run/netns/$NS" "$@"; }

soon() { # COMMAND...: true within a minute
	local end=$((SECONDS + 60))
	while ((SECONDS < end)); do
		"$@" 2>/dev/null && return
		sleep 0.05
	done
	"$@"
}

# ---- servers ----

# Generation NAME, ready to serve.
serve() { # NAME OPTION...
	local name=$1 out=$BATS_TEST_TMPDIR/$1.out
	shift
	: >"$out"
	# shellcheck disable=SC2016
	CG=$CG bash -c 'echo $$ >"$CG/cgroup.procs" && exec "$@"' bash nsenter --net="/run/netns/$NS" \
		"$BUILD/tests/migrate_udp_server" --gen "$name" "$@" $PORT >"$out" 2>&1 3>&- &
	PID[$name]=$!
	soon grep -q "^ready" "$out" || { cat "$out" >&2 && return 1; }
	WORKERS[$name]=$(sed -n 's/^ready //p' "$out")
}

gone() { # PID...
	local pid
	for pid; do
		[[ ! -e /proc/$pid || $(sed 's/.*) //; s/ .*//' "/proc/$pid/stat") == Z ]] || return 1
	done
}

# All its sockets are closed when this returns.
stop() { # NAME
	local pids
	kill -TERM "${PID[$1]}" 2>/dev/null || true
	wait "${PID[$1]}" 2>/dev/null || true
	read -ra pids <<<"${WORKERS[$1]:-}"
	soon gone "${pids[@]}"
	unset "PID[$1]"
}

# ---- the load ----

client() { # NAME [ADDRESS [CID]]
	local in out
	mkfifo "$BATS_TEST_TMPDIR/$1.in" "$BATS_TEST_TMPDIR/$1.answers"
	in_net python3 "$ROOT/tests/e2e/migrate_udp_load.py" "${2:-127.0.0.1}" $PORT "${3:-0}" \
		<"$BATS_TEST_TMPDIR/$1.in" >"$BATS_TEST_TMPDIR/$1.answers" 3>&- &
	CLIENT[$1]=$!
	exec {in}>"$BATS_TEST_TMPDIR/$1.in" {out}<"$BATS_TEST_TMPDIR/$1.answers"
	IN[$1]=$in OUT[$1]=$out
	read -r -t 60 -u "$out" _
}

client_end() { # NAME
	local in=${IN[$1]} out=${OUT[$1]}
	exec {in}>&- {out}<&-
	kill -KILL "${CLIENT[$1]}" 2>/dev/null || true
	wait "${CLIENT[$1]}" 2>/dev/null || true
	unset "CLIENT[$1]"
}

# What it answers, JSON, is in $A.
say() { # NAME WORD...
	local name=$1
	shift
	echo "$*" >&"${IN[$name]}"
	read -r -t 120 -u "${OUT[$name]}" A
	[[ $A != *error* ]] || { echo "$name: $*: $A" >&2 && return 1; }
}
tell() { say c "$@"; }

answer() { jq -e "$1" <<<"$A" >/dev/null || { echo "not $1: $A" >&2 && return 1; }; }

fine() { answer '.failures == {}'; }

# As many flows as said have been served by that generation, and nothing failed.
all_by() { # GEN N
	answer ".failures == {} and .gens == {\"$1\": $2}"
}

ran() { # TAG N: exchanges, up to now
	tell count "$1"
	answer ".exchanges >= $2"
}

# Flows that end within N new ones, all served by GEN.
churned_to() { # GEN N
	tell count n
	answer ".gens[\"$1\"] // 0 >= $2"
}

# ---- the tool ----

attach() { in_net "$KCMTOOL" migrate attach --udp --port $PORT --cgroup "$CG" --name t "$@" 3>&-; }

get() { in_net "$KCMTOOL" -j migrate show t --flows 2>/dev/null; }

shows() { # JQ
	local got
	got=$(get)
	jq -e "$1" <<<"$got" >/dev/null || { jq . <<<"$got" >&2 && echo "not $1" >&2 && return 1; }
}

registered() { shows "([.groups[].listeners] | add) == $1 and all(.groups[]; .waiting == 0 and .selector == \"on\")"; }

# New flows go to that generation; a new one has read the flow that was given to it as a probe.
works() { # GENERATION [NAME]
	say "${2:-c}" open probe 1
	say "${2:-c}" close probe
	shows ".groups[0].works == $1"
}

# It catches SIGINT from then on that it has looked where the log is.
watching() { (($(sed -n 's/^SigCgt:\t/0x/p' "/proc/$1/status") & 2)); }

keeper() { sed -n 1p $RUN/migrate-t; }

freed() { ! bpftool "$1" show id "$2"; } # map|prog ID

says() { # STATUS WORDS... -- COMMAND...
	local status=$1 words=()
	shift
	while [[ $1 != -- ]]; do words+=("$1") && shift; done
	shift
	run "-$status" --separate-stderr "$@" 3>&-
	echo "$stderr" >&2
	[[ -z $output && $(wc -l <<<"$stderr") == 1 && $stderr == "kcmtool: "* ]]
	for word in "${words[@]}"; do
		[[ $stderr == *"$word"* ]] || { echo "no '$word'" >&2 && return 1; }
	done
}

@test "udp: attach and detach under load: no flow changes its socket, and none of them is lost" {
	serve g1 --workers 2 --sockets 2
	client c
	tell open a 100
	all_by g1 100
	tell who a
	local before=$A
	tell run a
	run -0 --separate-stderr attach
	[[ -z $stderr ]]
	grep -qE '^selectors +1$' <<<"$output"
	grep -qE '^listeners +4$' <<<"$output"
	soon ran a 1000
	tell halt a
	all_by g1 100
	shows '.protocol == "udp" and .flows == 100 and .flows_max == 65536 and .flow_timeout_s == 120 and
		.keeper_pid == '"$(keeper)"' and (.groups | length) == 1 and
		(.groups[0] | .listeners == 4 and .waiting == 0 and .new == 100 and .moved == 0 and .full == 0 and
			.flows == 100) and
		(.generations | length) == 1 and .generations[0].flows == 100 and
		(.listeners | length) == 4 and ([.listeners[].flows] | add) == 100 and
		all(.listeners[]; .state == "adopted" and .dropped == 0 and .datagrams >= .flows) and
		(.flow_table | length) == 100 and all(.flow_table[]; .local == "127.0.0.1" and .generation == 1)'
	# Of each socket as many flows as the client says.
	[[ $(get | jq -c '[.listeners[].flows] | sort') == "$(jq -c '[.[]] | sort' <<<"$before")" ]]
	run -0 in_net "$KCMTOOL" migrate show t -l
	grep -qE "0.0.0.0:$PORT .* on +1 +4 " <<<"$output"
	tell run a
	run -0 in_net "$KCMTOOL" migrate detach t
	soon ran a 500
	tell halt a
	all_by g1 100
	tell who a
	[[ $A == "$before" ]]
	nothing_pinned
}

@test "udp: generations overlap under load: flows stay, new ones go to the newest, then the old one ends" {
	serve g1 --workers 2
	attach
	client c
	tell open a 100
	tell run a
	tell churn n 20
	soon churned_to g1 100
	serve g2 --workers 3
	soon registered 5
	soon churned_to g2 200
	tell halt n
	fine
	# From now on, none to the old one.
	shows '.groups[0].works == 2'
	tell open b 50
	all_by g2 50
	tell churn n 20
	soon churned_to g2 200
	tell halt n
	answer '.failures == {} and (.gens | keys) == ["g2"]'
	tell halt a
	all_by g1 100
	shows '[.generations[] | [.generation, .role, .listeners]] == [[1, "before", 2], [2, "works", 3]] and
		.generations[0].flows >= 100 and .groups[0].moved == 0'
	stop g1
	# They are with the new one now, which knows nothing of them; and it is said how many.
	tell reopen a
	all_by g2 100
	shows '.groups[0].moved >= 100 and .generations[1].in == .groups[0].moved and
		.generations[0].out == .groups[0].moved and .generations[0].state == "gone"'
	tell talk a 3
	all_by g2 100
	tell talk b 3
	all_by g2 50
}

@test "udp: without us the same overlap breaks flows" {
	serve g1 --workers 2
	client c
	tell open a 200
	all_by g1 200
	serve g2 --workers 2
	tell talk a 2
	answer '.failures.nosession > 0'
}

@test "udp: a generation works once it has read: until then it gets one flow only" {
	serve g1
	attach
	client c
	tell open a 5
	serve g2 --hold "$BATS_TEST_TMPDIR/go"
	soon registered 2
	shows '.generations[1].state == "new" and .generations[1].role == "next"'
	tell open a 0
	# Of 21 flows one waits there, the others are served.
	tell churn n 20
	soon churned_to g1 200
	shows '.generations[1] | .flows == 1 and .given == 1 and .state == "new"'
	touch "$BATS_TEST_TMPDIR/go"
	soon churned_to g2 100
	tell halt n
	fine
	shows '.groups[0].works == 2 and .generations[1].state == "ready"'
	tell talk a 2
	all_by g1 5
}

@test "udp: promote, rollback, drain, release, weight: what is new obeys, what there is stays" {
	serve g1
	attach
	client c
	tell open a 20
	serve g2
	soon registered 2
	soon works 2
	tell open b 20
	all_by g2 20
	in_net "$KCMTOOL" migrate generation rollback t
	tell open b1 20
	all_by g1 20
	in_net "$KCMTOOL" migrate generation promote t 2
	tell open b2 20
	all_by g2 20
	in_net "$KCMTOOL" migrate generation promote t 1
	serve g3
	soon registered 3
	tell open b3 20
	all_by g1 20
	in_net "$KCMTOOL" migrate weight t 3 50
	tell open b4 400
	# 200 are to be expected, less than 120 once in 10^15 times.
	answer '.failures == {} and .gens.g3 > 120 and .gens.g1 > 120 and (.gens | has("g2") | not)'
	in_net "$KCMTOOL" migrate generation drain t 1
	tell open b5 40
	answer '.failures == {} and (.gens | has("g1") | not)'
	in_net "$KCMTOOL" migrate generation release t
	soon works 3
	tell open b6 20
	all_by g3 20
	shows '.generations[0].state == "draining" and .generations[0].flows >= 60'
	for tag in a b b1 b2 b3 b4 b5 b6; do
		tell talk $tag 2
		fine
	done
	shows '.groups[0].moved == 0'
	says 1 'could wait' -- in_net "$KCMTOOL" migrate park t
	says 1 'TCP' -- in_net "$KCMTOOL" migrate policy t client
}

@test "udp: policies hash and robin, and numbers of the operator" {
	serve g1 --sockets 4
	attach --policy robin --generation manual
	client c
	tell open a 40
	tell who a
	answer '[.[]] == [10, 10, 10, 10]'
	in_net "$KCMTOOL" migrate policy t hash
	in_net "$KCMTOOL" migrate generation new t
	serve g2 --sockets 2
	soon registered 6
	soon works 2
	tell open b 60
	all_by g2 60
	tell who b
	answer 'length == 2 and ([.[]] | min) > 5'
	tell talk a 2
	all_by g1 40
	tell talk b 2
	all_by g2 60
}

@test "udp: a worker is killed under load: its flows go elsewhere, those of others stay" {
	serve g1 --workers 4
	attach
	client c
	tell open a 200
	tell run a
	local dead
	dead=${WORKERS[g1]%% *}
	tell count a
	kill -KILL "$dead"
	soon gone "$dead"
	soon shows '.groups[0].listeners == 3'
	soon shows '.listeners | any(.state == "closed" and .flows == 0)'
	local had
	had=$(get | jq ".listeners[] | select(.pid == $dead) | .given")
	((had > 0))
	soon shows ".groups[0].moved == $had"
	tell halt a
	# Nothing but that their session was gone, or their last datagram was with him.
	answer ".gens.g1 == 200 - $had and ([.failures[]] | add) == $had and
		((.failures | keys) - [\"nosession\", \"lost\"]) == []"
	tell open b 20
	all_by g1 20
	tell talk b 3
	all_by g1 20
}

@test "udp: stop, gap, start: a group that begins anew gets its selector again" {
	serve g1 --workers 2
	attach
	client c
	tell open a 20
	stop g1
	shows '.groups[0].listeners == 0 and .groups[0].emptied == 1 and .groups[0].selector == "-"'
	tell talk a 1
	answer '.failures == {refused: 20}'
	serve g2 --workers 2
	soon registered 2
	client d
	say d open a 50
	answer '.gens == {"g2": 50}'
	serve g3 --workers 2
	soon registered 4
	soon works 3 d
	say d talk a 3
	answer '.failures == {} and .gens == {"g2": 50}'
}

@test "udp: twenty generations in a row under load: no flow of one that lives is lost, nothing leaks" {
	serve g1 --workers 2
	attach
	client c
	tell churn n 10
	local i fds=0 map prog
	for i in {2..21}; do
		serve "g$i" --workers 2
		soon registered 4
		tell open "f$i" 20
		fine
		tell run "f$i"
		soon churned_to "g$i" 10
		# What of the churn is with the old one would fail with it.
		tell halt n
		fine
		tell halt "f$i"
		fine
		tell open "h$i" 20
		all_by "g$i" 20
		stop "g$((i - 1))"
		soon registered 2
		tell close "f$i"
		tell close "h$i"
		tell churn n 10
		((i != 3)) || fds=$(find "/proc/$(keeper)/fd" -type l | wc -l)
	done
	tell halt n
	all_by g21 "$(jq .gens.g21 <<<"$A")"
	shows '.groups[0].full == 0'
	shows '.groups[0].listeners == 2 and ([.generations[] | select(.state != "gone")] | length) == 1 and
		([.listeners[] | select(.state != "closed")] | length) == 2 and .groups[0].emptied == 0'
	[[ $(find "/proc/$(keeper)/fd" -type l | wc -l) == "$fds" ]]
	map=$(bpftool -j map show pinned "$PINS/migrate/t/kcm_mg_udps" | jq .id)
	prog=$(bpftool -j prog show pinned "$PINS/migrate/t/kcm_mg_select" | jq .id)
	in_net "$KCMTOOL" migrate detach t
	soon freed map "$map"
	soon freed prog "$prog"
}

@test "udp: the flow table is full: flows in it stay, others are counted, and go by their hash" {
	attach --flows 64
	serve g1 --workers 2
	soon registered 2
	client c
	tell open a 64
	# All the while: one that is silent makes room.
	tell run a
	shows '.flows == 64 and .groups[0].full == 0'
	tell open b 30
	all_by g1 30
	tell talk b 3
	all_by g1 30
	shows '.flows == 64 and .flows_early == 0 and .groups[0].full == 120'
	serve g2 --workers 2
	soon registered 4
	# The new one cannot be tried with a flow that nobody would remember.
	tell talk b 3
	all_by g1 30
	in_net "$KCMTOOL" migrate generation promote t 2
	tell talk b 1
	answer '.failures == {nosession: 30}'
	tell halt a
	all_by g1 64
}

@test "udp: addresses that send once only make room when little is left" {
	serve g1
	attach --flows 64
	client c
	tell open a 10
	tell talk a 3
	tell open once 42
	shows '.flows == 52'
	soon shows '.flows == 10 and .flows_early == 42 and .flows_expired == 0'
	serve g2
	soon registered 2
	tell talk a 3
	all_by g1 10
}

@test "udp: more sockets than there is room for are refused and counted, the others serve" {
	prlimit --nofile=4096 --pid $$
	serve g1 --sockets 1030
	attach
	client c
	tell open a 50
	all_by g1 50
	shows '.groups[0].listeners == 1024 and .groups[0].waiting == 0'
	run -0 --separate-stderr in_net "$KCMTOOL" migrate show t
	[[ $stderr == *"6 listeners could not be registered"* ]]
	tell talk a 3
	all_by g1 50
	serve g2 --sockets 2
	soon registered 1026
	soon works 2
	tell talk a 3
	all_by g1 50
}

@test "udp: a flow that has been silent for --flow-timeout is a new one" {
	serve g1
	attach --flow-timeout 1
	client c
	tell open a 10
	serve g2
	soon registered 2
	soon works 2
	soon shows '.flows == 0'
	tell reopen a
	all_by g2 10
	shows '.groups[0].moved == 0'
	attach --flow-timeout 3600
	shows '.flow_timeout_s == 3600'
}

@test "udp: QUIC: a connection keeps its server from another address, and with another id" {
	serve g1 --workers 2 --cid 8
	client c 127.0.0.1 8
	# Older than attach: known by the ids that they use, once any handshake has said how long ids are.
	tell open old 20
	tell talk old 3
	attach --quic
	tell open a 50
	tell talk a 3
	all_by g1 50
	tell talk old 2
	serve g2 --workers 2 --cid 12
	soon registered 4
	soon works 2
	client d 127.0.0.1 12
	say d open b 50
	say d talk b 3
	answer '.failures == {} and .gens == {"g2": 50}'
	tell rebind a
	tell talk a 3
	all_by g1 50
	tell rebind old
	tell talk old 3
	all_by g1 20
	say d rebind b
	say d talk b 3
	answer '.failures == {} and .gens == {"g2": 50}'
	shows '.quic and .groups[0].rebound == 120 and .groups[0].moved == 0'
	# Again, and both on at once.
	tell rebind a
	tell talk a 3
	all_by g1 50
}

@test "udp: without --quic another address is another flow" {
	serve g1
	attach
	client c
	tell open a 10
	tell talk a 2
	serve g2
	soon registered 2
	soon works 2
	tell rebind a
	tell talk a 1
	answer '.failures == {nosession: 10}'
}

@test "udp: IPv6, and a group of both families" {
	local family
	for family in 6 46; do
		serve g1 --family $family --workers 2
		attach
		client c ::1
		((family == 6)) || client d 127.0.0.1
		tell open a 20
		((family == 6)) || say d open a 20
		serve g2 --family $family
		soon registered 3
		soon works 2
		tell talk a 3
		all_by g1 20
		((family == 6)) || { say d talk a 3 && all_by g1 20; }
		tell open b 20
		all_by g2 20
		((family == 6)) || { say d open b 20 && all_by g2 20; }
		shows '[.flow_table[] | select(.local == "::1")] | length >= 40'
		((family == 6)) || shows '[.flow_table[] | select(.local == "127.0.0.1")] | length == 40'
		in_net "$KCMTOOL" migrate detach t
		client_end c
		((family == 6)) || client_end d
		rm "$BATS_TEST_TMPDIR"/*.in "$BATS_TEST_TMPDIR"/*.answers
		stop g1
		stop g2
	done
}

@test "udp: the keeper is killed: flows go on, what is opened waits for the next one" {
	serve g1
	attach
	client c
	tell open a 20
	kill -KILL "$(keeper)"
	soon gone "$(keeper)"
	tell talk a 3
	all_by g1 20
	serve g2
	tell open b 20
	all_by g1 20
	run -0 --separate-stderr in_net "$KCMTOOL" migrate show t
	[[ $stderr == *"no process registers its new sockets; try: kcmtool migrate keep t" ]]
	shows '.groups[0].listeners == 2 and .groups[0].waiting == 1 and .keeper_pid == null'
	attach
	soon registered 2
	soon works 2
	tell open d 20
	all_by g2 20
	tell talk a 3
	all_by g1 20
}

@test "udp: attach in the midst of an overlap: flows stay where the kernel has them" {
	serve g1 --workers 2
	serve g2 --workers 2
	client c
	tell open a 100
	answer '.failures == {} and .gens.g1 > 0 and .gens.g2 > 0'
	attach
	tell talk a 5
	answer '.failures == {} and ([.gens[]] | add) == 100'
	# The newest is the one that was started last.
	shows ".generations | map({(.generation | tostring): .pid}) | add == {\"1\": ${PID[g1]}, \"2\": ${PID[g2]}}"
	shows '.groups[0].works == 2'
	# Who knows better says so.
	in_net "$KCMTOOL" migrate generation promote t 2
	tell open b 50
	all_by g2 50
	tell talk a 5
	answer '.failures == {} and ([.gens[]] | add) == 100'
}

@test "udp: sockets that have a peer are left alone" {
	serve g1 --workers 2 --connect 4444
	attach
	client c
	tell open a 50
	all_by g1 50
	tell talk a 3
	all_by g1 50
	shows '.groups[0].listeners == 2'
	serve g2 --connect 4445
	# It was bound before it had a peer.
	soon registered 3
	shows '[.listeners[] | select(.state == "closed")] | length == 1'
	soon works 2
	tell open b 50
	all_by g2 50
	tell talk a 3
	all_by g1 50
}

@test "udp: beside TCP on the same port, watch, status, unload" {
	serve g1
	attach
	in_net "$KCMTOOL" migrate attach --port $PORT --cgroup "$CG" --name other --anchor 3>&-
	run -0 in_net "$KCMTOOL" -j migrate show
	jq -e '[.instances[] | [.name, .protocol]] | sort == [["other", "tcp"], ["t", "udp"]]' <<<"$output"
	client c
	nsenter --net="/run/netns/$NS" "$KCMTOOL" -j migrate watch t --count 5 >"$BATS_TEST_TMPDIR/watch" 3>&- &
	local watch=$!
	soon watching $watch
	serve g2
	soon registered 2
	soon works 2
	stop g1
	wait $watch
	jq -es '[.[].event] == ["new", "listen", "works", "close", "gone"] and .[2].generation == 2' \
		"$BATS_TEST_TMPDIR/watch"
	run -0 in_net "$KCMTOOL" -j status
	[[ $output == *'"listeners":1'* ]]
	in_net "$KCMTOOL" unload migrate --force
	nothing_pinned
}

@test "udp: check knows of it" {
	serve g1 --workers 2
	run -0 in_net "$KCMTOOL" -j migrate check --udp --port $PORT --pid "${PID[g1]}"
	jq -e '[.findings[] | select(.what == "udp") | .severity] == ["warn"]' <<<"$output"
	attach
	run -0 in_net "$KCMTOOL" -j migrate check --udp --port $PORT --pid "${PID[g1]}"
	jq -e '[.findings[] | select(.what == "udp") | .severity] == ["ok"]' <<<"$output"
}

@test "udp: --reuseport for a server that does not ask for it" {
	attach --reuseport
	serve g1 --no-reuseport
	soon registered 1
	client c
	tell open a 10
	serve g2 --no-reuseport
	soon registered 2
	soon works 2
	tell open b 10
	all_by g2 10
	tell talk a 2
	all_by g1 10
}

@test "udp: bad input: one clear line each, and nothing is left" {
	says 2 '--anchor is for TCP' -- attach --anchor
	says 2 '--quic is for UDP' -- in_net "$KCMTOOL" migrate attach --port $PORT --quic
	says 2 '--flows is for UDP' -- in_net "$KCMTOOL" migrate attach --port $PORT --flows 5
	says 2 'client is for TCP' -- attach --policy client
	says 2 "'0'" -- attach --flows 0
	says 2 "'x'" -- attach --flow-timeout x
	says 6 'no directory' -- in_net "$KCMTOOL" migrate attach --udp --port $PORT --cgroup /etc
	serve g1 --no-reuseport
	says 6 'no SO_REUSEPORT' 'attach --udp --reuseport' -- attach
	nothing_pinned
	stop g1
	attach
	says 6 "'t' is there for UDP" -- in_net "$KCMTOOL" migrate attach --port $PORT --cgroup "$CG" \
		--name t --anchor
	says 6 'steers port' -- in_net "$KCMTOOL" migrate attach --udp --port $PORT --cgroup "$CG" \
		--name other
}
