#!/usr/bin/env bats
# migrate from the command line: each command, what it answers and what the kernel then does.
# shellcheck disable=SC2030,SC2031,SC2153,SC2154 # each test is a subshell; ROOT; stderr of run
bats_require_minimum_version 1.5.0
load common

PORT=18090
CGROUPS=$(awk '/ - cgroup2 / { print $5; exit }' /proc/self/mountinfo)
CG=$CGROUPS/kcm_mcli_${KCM_TEST_RUN:-$$-0}
NS=kcm-mcli-$$
RUN=/run/kcm

setup() {
	declare -gA IN=() OUT=() PID=()
	ip netns add "$NS"
	ip -n "$NS" link set lo up
	mkdir -p "$CG"
	peer client
}

teardown() {
	local p
	kcm migrate detach t 2>/dev/null || true
	kcm migrate detach other 2>/dev/null || true
	for p in "${!PID[@]}"; do end "$p"; done
	[[ ! -v LEFT ]] || kill -KILL "$LEFT" 2>/dev/null || true
	ip netns del "$NS"
	soon rmdir "$CG"
	nothing_pinned
	[[ -z $(find $RUN -name 'migrate-*' 2>/dev/null) ]]
}

# ---- servers ----

# A process that opens and closes listeners as told; COMMAND... runs it, e.g. as another user.
peer() { # NAME [COMMAND...]
	local name=$1 in out
	shift
	mkfifo "$BATS_TEST_TMPDIR/$name.in" "$BATS_TEST_TMPDIR/$name.out"
	# shellcheck disable=SC2016
	CG=$CG bash -c 'echo $$ >"$CG/cgroup.procs" && exec "$@"' bash nsenter --net="/run/netns/$NS" \
		"$@" python3 "$ROOT/tests/e2e/migrate_cli_peer.py" "$name" $PORT \
		<"$BATS_TEST_TMPDIR/$name.in" >"$BATS_TEST_TMPDIR/$name.out" 3>&- &
	PID[$name]=$!
	exec {in}>"$BATS_TEST_TMPDIR/$name.in" {out}<"$BATS_TEST_TMPDIR/$name.out"
	IN[$name]=$in OUT[$name]=$out
	read -r -t 20 -u "$out" _
}

# What it answers, JSON, is in $A.
tell() { # NAME WORD...
	local name=$1
	shift
	echo "$*" >&"${IN[$name]}"
	read -r -t 20 -u "${OUT[$name]}" A
	[[ $A != *error* ]] || { echo "$name: $*: $A" >&2 && return 1; }
}

end() { # NAME
	local in=${IN[$1]} out=${OUT[$1]}
	exec {in}>&- {out}<&-
	kill -KILL "${PID[$1]}" 2>/dev/null || true
	wait "${PID[$1]}" 2>/dev/null || true
	rm "$BATS_TEST_TMPDIR/$1.in" "$BATS_TEST_TMPDIR/$1.out"
	unset "PID[$1]" "IN[$1]" "OUT[$1]"
}

answer() { jq -e "$1" <<<"$A" || { echo "not $1: $A" >&2 && return 1; }; }

# N connections, one after the other, all served; $A says by whom.
connect() { # N [WORD...]
	tell client connect "$@"
	answer "add == $1 and ([keys[] | select(test(\"^[a-z0-9]+[.]\") | not)] == [])"
}

from() { jq -r "[to_entries[] | select(.key | startswith(\"$1\")) | .value] | add // 0" <<<"$A"; }

# ---- the tool ----

attach() { kcm migrate attach --port $PORT --cgroup "$CG" --name t "$@" 3>&-; }

shows() { # JQ
	local got
	got=$(kcm -j migrate show t 2>/dev/null)
	jq -e "$1" <<<"$got" >/dev/null || { jq . <<<"$got" >&2 && echo "not $1" >&2 && return 1; }
}

soon() { # COMMAND...: true within a minute
	local end=$((SECONDS + 60))
	while ((SECONDS < end)); do
		"$@" 2>/dev/null && return
		sleep 0.05
	done
	"$@"
}

# Fails with this exit code, nothing on stdout, and one line on stderr that has all of the words.
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

keeper() { sed -n 1p $RUN/migrate-t 2>/dev/null; }

@test "attach, show, detach: text and JSON, once more, and back to the kernel's hash" {
	peer g1
	tell g1 open a n=4
	run -0 --separate-stderr attach
	[[ -z $stderr ]]
	grep -qE '^name +t$' <<<"$output"
	grep -qE '^listeners +4$' <<<"$output"
	run -0 --separate-stderr attach -j
	jq -e '.schema == 1 and .result == "looked through again" and .listeners == 0 and .groups == 1 and
		.selectors == 1 and .refused == 0' <<<"$output"
	connect 20
	shows '.schema == 1 and .port == '$PORT' and .policy == "hash" and .generations_by == "process" and
		(.groups | length) == 1 and .groups[0].selector == "on" and .groups[0].listeners == 4 and
		.groups[0].works == 1 and .generations[0].given == 20 and .generations[0].state == "ready" and
		(.listeners | length) == 4 and ([.listeners[].given] | add) == 20 and
		all(.listeners[]; .state == "adopted" and .pid == '"${PID[g1]}"' and .kind == "plain" and
			.backlog == 128 and .queue == 0)'
	run -0 kcm migrate show t --listeners
	grep -qE "127.0.0.1:$PORT .* on +1 +4 " <<<"$output"
	[[ $(grep -c "adopted +${PID[g1]} +python3" -E <<<"$output") == 4 ]]
	run -0 kcm -j migrate show
	jq -e '.instances == [{name: "t", protocol: "tcp", port: '$PORT', cgroup: .instances[0].cgroup, policy: "hash", groups: 1,
		listeners: 4, without_selector: 0}]' <<<"$output"
	run -0 --separate-stderr kcm -j migrate detach t
	jq -e '.result == "detached"' <<<"$output"
	[[ -z $stderr ]]
	nothing_pinned
	connect 20
	says 7 "'t' is not attached" -- kcm migrate detach t
	says 7 "'t' is not attached" -- kcm migrate show t
}

@test "detach takes the selector out of the kernel, and all that it used" {
	before=$(bpftool -j prog show | jq '[.[] | select(.name // "" | startswith("kcm_mg"))] | length')
	peer g1
	tell g1 open a n=2
	attach
	attach --anchor --anchor-backlog 7
	kcm migrate detach t
	soon no_more_programs "$before"
	connect 4
}
no_more_programs() {
	[[ $(bpftool -j prog show | jq '[.[] | select(.name // "" | startswith("kcm_mg"))] | length') -le $1 ]]
}

@test "attach by --pid, by --cgroup; not two instances on one port" {
	peer g1
	tell g1 open a n=2
	run -0 kcm -j migrate attach --port $PORT --pid "${PID[g1]}" --name t
	jq -e '.listeners == 2' <<<"$output"
	shows '.cgroup | endswith("'"${CG##*/}"'")'
	says 6 "cannot attach to port $PORT" "'t' steers port $PORT there" \
		-- kcm migrate attach --port $PORT --cgroup "$CG" --name other
	says 6 "'t' steers port $PORT there" -- kcm migrate attach --port $PORT --name other
	says 6 "'t' is there for port $PORT" -- kcm migrate attach --port 18091 --name t
	says 6 "'t' is there for another cgroup" -- kcm migrate attach --port $PORT --name t
	kcm migrate detach t
}

@test "bad input: one clear line each, and nothing is left" {
	says 6 "nobody listens on port 18091" "migrate check" -- kcm migrate attach --port 18091 --cgroup "$CG"
	for word in 0 65536 x -1 ''; do
		says 2 "port" -- kcm migrate attach --port "$word"
	done
	says 2 "port" -- kcm migrate attach
	says 1 "no process 4194999" -- kcm migrate attach --port $PORT --pid 4194999
	says 2 "no process number" -- kcm migrate attach --port $PORT --pid x
	says 2 "--pid and --cgroup" -- kcm migrate attach --port $PORT --pid 1 --cgroup /
	says 6 "nosuch" -- kcm migrate attach --port $PORT --cgroup nosuch
	says 6 "no directory of cgroup2" -- kcm migrate attach --port $PORT --cgroup /tmp
	says 2 "no policy 'x'" -- kcm migrate attach --port $PORT --policy x
	says 2 "x" -- kcm migrate attach --port $PORT --generation x
	says 2 "anchor-time" -- kcm migrate attach --port $PORT --anchor --anchor-time 0
	says 2 "anchor-backlog" -- kcm migrate attach --port $PORT --anchor --anchor-backlog x
	for name in '' . .. a/b -x "$(printf 'n%.0s' {1..40})"; do
		says 2 "" -- kcm migrate attach --port $PORT --name="$name"
	done
	nothing_pinned
	peer g1
	tell g1 open a reuse=0
	says 6 "port $PORT" "SO_REUSEPORT" "--reuseport" -- kcm migrate attach --port $PORT --cgroup "$CG"
	nothing_pinned
}

@test "bad input to the other commands" {
	for command in "detach no" "show no" "generation new no" "generation promote no 1" "weight no 1 5" \
		"policy no robin" "watch no" "park no" "unpark no" "keep no"; do
		# shellcheck disable=SC2086
		says 7 "'no' is not attached" -- kcm migrate $command
	done
	peer g1
	tell g1 open a
	attach
	says 2 "no policy 'x'" -- kcm migrate policy t x
	says 1 "made at attach" -- kcm migrate policy t client
	says 2 "'x'" -- kcm migrate generation x t
	says 2 "generation" -- kcm migrate generation promote t
	says 2 "'0'" -- kcm migrate generation promote t 0
	says 1 "no generation 9" -- kcm migrate generation promote t 9
	says 2 "takes no generation" -- kcm migrate generation new t 1
	says 1 "no other generation" -- kcm migrate generation drain t 1
	says 1 "" -- kcm migrate generation rollback t
	says 2 "'101' is no share" -- kcm migrate weight t 1 101
	says 1 "has what the others leave" -- kcm migrate weight t 1 5
	says 1 "no generation 9" -- kcm migrate weight t 9 5
	says 1 "no such group" -- kcm migrate generation release t --group 3
	says 2 "group" -- kcm migrate generation release t --group 8
	says 1 "nobody holds an anchor" "attach --anchor" -- kcm migrate park t
	says 2 "time" -- kcm migrate park t --time 0
	says 2 "count" -- kcm migrate watch t --count 0
	connect 2
}

@test "policy robin is exact, in turn" {
	peer g1
	tell g1 open a n=3
	attach --policy robin
	connect 30
	answer '. == {"g1.a0": 10, "g1.a1": 10, "g1.a2": 10}'
	kcm migrate policy t hash
	shows '.policy == "hash"'
	connect 60
	answer '(keys | length) == 3'
}

@test "policy least does not choose who does not accept" {
	peer g1
	tell g1 open a
	tell g1 open b hold=1
	attach --policy least
	# One at a time: the other one's queue is empty again.
	for _ in {1..40}; do
		tell client begin 1
		tell g1 counts
		tell g1 counts
	done
	tell client finish 1
	answer '(.none // 0) <= 1 and (."g1.a" // 0) >= 39'
}

@test "policies cpu and numa: one CPU's connections go to one listener" {
	peer g1
	tell g1 open a n=2
	attach --policy cpu
	taskset -p -c 0 "${PID[client]}" >/dev/null
	connect 10
	answer '(keys | length) == 1'
	kcm migrate policy t numa
	connect 10
	answer '(keys | length) == 1'
}

@test "policy client: an address stays with its listener as others come and go" {
	peer g1
	peer g2
	tell g1 open a n=3
	attach --policy client
	for n in {1..12}; do
		connect 3 source=127.0.0."$n"
		answer '(keys | length) == 1'
		had[n]=$(jq -r 'keys[0]' <<<"$A")
	done
	[[ $(printf '%s\n' "${had[@]}" | sort -u | wc -l) -gt 1 ]]
	tell g1 open b n=2
	for n in {1..12}; do
		connect 2 source=127.0.0."$n"
		answer ". == {\"${had[n]}\": 2}"
	done
	tell g1 close a1
	for n in {1..12}; do
		connect 2 source=127.0.0."$n"
		answer '(keys | length) == 1'
		[[ ${had[n]} == g1.a1 ]] || answer ". == {\"${had[n]}\": 2}"
	done
}

@test "a generation works once it has accepted: until then it gets one connection only" {
	peer g1
	peer g2
	tell g1 open a n=2
	attach
	connect 4
	tell g2 open b hold=1 n=2
	shows '.groups[0].works == 1 and (.generations[] | select(.role == "next") |
		.generation == 2 and .state == "new")'
	tell client begin 30
	tell client finish 0.5
	answer '.none == 1 and add == 30'
	tell g2 accept b0 b1
	soon works 2
	connect 20
	[[ $(from g2) == 20 ]]
	shows '.groups[0].works == 2 and (.generations[] | select(.generation == 1) | .role == "before")'
	end g1
	connect 10
	shows '.generations[] | select(.generation == 1) | .state == "gone"'
}
# A connection or two, and it works; the first is the probe.
works() { # ID
	connect 1
	shows ".groups[0].works == $1" 2>/dev/null
}

@test "attach in the midst of an overlap: the process that was started last is the newest" {
	peer old
	tell old open a n=2
	sleep 0.1 # processes' starts are told apart by ticks of the clock
	peer new
	tell new open b n=2 hold=1
	attach
	shows '[.generations[] | {id: .generation, role}] | sort_by(.id) == [{id: 1, role: "works"}, {id: 2, role: "next"}]'
	tell new accept b0 b1
	soon works 2
	connect 20
	[[ $(from new) == 20 ]]
	end old
	connect 10
	[[ $(from new) == 10 ]]
}

@test "generation promote, rollback, drain, release; new ones do not take over meanwhile" {
	for n in 1 2; do
		peer "g$n"
		tell "g$n" open a n=2
		((n > 1)) || attach
	done
	soon works 2
	run -0 kcm -j migrate generation rollback t
	jq -e '.done == "rollback" and .groups == 1' <<<"$output"
	connect 20
	[[ $(from g1) == 20 ]]
	shows '.groups[0].pinned and .groups[0].works == 1'
	kcm migrate generation promote t 2
	connect 20
	[[ $(from g2) == 20 ]]
	kcm migrate generation promote t 1
	peer g3
	tell g3 open a n=2
	connect 20
	[[ $(from g1) == 20 ]]
	kcm migrate generation release t
	soon works 3
	connect 20
	[[ $(from g3) == 20 ]]
	kcm migrate generation drain t 3
	connect 20
	[[ $(from g2) == 20 ]]
	kcm migrate generation drain t 2
	connect 20
	[[ $(from g1) == 20 ]]
	says 1 "no other generation would take" -- kcm migrate generation drain t 1
	end g3
	says 1 "no listener" -- kcm migrate generation promote t 3
}

@test "generation new: the operator's number, in one process" {
	peer g1
	tell g1 open a n=2
	attach --generation manual
	shows '.generations_by == "operator"'
	run -0 kcm -j migrate generation new t
	jq -e '.number == 2' <<<"$output"
	tell g1 open b n=2
	shows '[.generations[] | [.generation, .number, .listeners]] == [[1, 1, 2], [2, 2, 2]]'
	soon works 2
	connect 20
	[[ $(from g1.b) == 20 ]]
}

@test "weight: a canary gets its share and does not take over" {
	peer g1
	peer g2
	tell g1 open a n=2
	attach
	tell g2 open b hold=1
	kcm migrate weight t 2 20
	tell g2 accept b
	connect 400
	n=$(from g2)
	echo "$n of 400" >&2
	((n >= 40 && n <= 130))
	says 1 "more than 100" -- kcm migrate weight t 2 101 || says 2 "share" -- kcm migrate weight t 2 101
	kcm migrate weight t 2 100
	connect 20
	[[ $(from g2) == 20 ]]
	kcm migrate weight t 2 0
	connect 20
	[[ $(from g1) == 20 ]]
	kcm migrate generation release t
	soon works 2
}

# It has mapped the state, and waits.
sleeps() { grep -q bpf-map "/proc/$1/maps" && grep -q '^State:.*S' "/proc/$1/status"; }

@test "watch: text, JSON, --count; the end at detach" {
	peer g1
	tell g1 open a
	attach
	"$KCMTOOL" -j migrate watch t --count 5 >"$BATS_TEST_TMPDIR/json" 3>&- &
	json=$!
	"$KCMTOOL" migrate watch t >"$BATS_TEST_TMPDIR/text" 2>"$BATS_TEST_TMPDIR/err" 3>&- &
	text=$!
	soon sleeps "$json"
	soon sleeps "$text"
	peer g2
	tell g2 open b
	soon works 2
	tell g1 close a
	wait "$json"
	cat "$BATS_TEST_TMPDIR/json"
	jq -es 'length == 5 and [.[].event] == ["new", "listen", "works", "close", "gone"] and
		.[1].pid == '"${PID[g2]}"' and .[1].generation == 2 and .[1].address == "127.0.0.1:'$PORT'" and
		all(.schema == 1)' "$BATS_TEST_TMPDIR/json"
	kcm migrate detach t
	status=0
	wait "$text" || status=$?
	[[ $status == 7 ]]
	grep -q "'t' was detached" "$BATS_TEST_TMPDIR/err"
	[[ $(awk '{ print $2 }' "$BATS_TEST_TMPDIR/text" | xargs) == "new listen works close gone" ]]
	grep -qE "^[0-9:.]+ listen +127.0.0.1:$PORT +generation 2, 1 listeners, pid ${PID[g2]} python3$" \
		"$BATS_TEST_TMPDIR/text"
}

@test "an MPTCP listener is refused, with the remedy; --no-mptcp keeps servers plain" {
	[[ $(nsenter --net="/run/netns/$NS" sysctl -n net.mptcp.enabled 2>/dev/null) == 1 ]] || skip "no MPTCP"
	peer g1
	tell g1 open a
	attach
	"$KCMTOOL" migrate watch t --count 1 >"$BATS_TEST_TMPDIR/text" 3>&- &
	watch=$!
	soon sleeps "$watch"
	tell g1 open m mptcp=1
	wait "$watch"
	cat "$BATS_TEST_TMPDIR/text"
	grep -qE 'refused .*MPTCP.*--no-mptcp' "$BATS_TEST_TMPDIR/text"
	run -0 --separate-stderr kcm -j migrate show t
	[[ $stderr == *"1 listeners could not be registered"* ]]
	jq -e '.listeners | length == 1' <<<"$output"
	tell g1 close a m
	tell g1 open m mptcp=1
	kcm migrate detach t
	says 6 "MPTCP" "--no-mptcp" -- kcm migrate attach --port $PORT --cgroup "$CG" --name other
	attach --no-mptcp --anchor
	tell g1 close m
	echo "open m mptcp=1" >&"${IN[g1]}"
	read -r -t 20 -u "${OUT[g1]}" A
	[[ $A == *"not permitted"* ]]
}

# ---- anchors ----

anchored() { soon shows '.groups[0].waiting != null'; }
waiting() { shows ".groups[0].waiting == $1"; }

@test "anchor: connections wait, and go to the next generation; show says who holds it and its bounds" {
	peer g1
	tell g1 open a n=2
	attach --anchor --anchor-backlog 50 --anchor-time 30
	[[ $(kcm -j migrate show t | jq .anchor_pid) == "$(keeper)" ]]
	shows '.anchor_backlog == 50 and .anchor_time_s == 30'
	anchored
	end g1
	tell client begin 20
	soon waiting 20
	shows '.groups[0].selector != "LOST" and .groups[0].parked == 20'
	peer g2
	tell g2 open a n=2
	tell client finish
	[[ $(from g2) == 20 ]]
	answer '."g2.a0" == 10 and ."g2.a1" == 10'
	shows '.groups[0].unparked == 20 and .groups[0].expired == 0 and .groups[0].selector == "on"'
	says 1 "process $(keeper) holds its anchors" -- kcm migrate keep t
	run -0 --separate-stderr attach --anchor --anchor-time 40
	shows '.anchor_time_s == 40'
}

@test "anchor: no more than --anchor-backlog wait, for no longer than --anchor-time" {
	peer g1
	tell g1 open a
	attach --anchor --anchor-backlog 5 --anchor-time 1
	anchored
	end g1
	tell client begin 5
	soon waiting 5
	tell client finish 10
	answer '. == {"reset": 5}'
	soon shows '.groups[0].expired == 5 and .groups[0].waiting == 0'
	# The same while they are diverted to it.
	peer g2
	tell g2 open a
	soon connect 1
	kcm migrate park t --time 30
	tell client begin 3
	tell client finish 10
	answer '. == {"reset": 3}'
	shows '.groups[0].expired == 8'
}

@test "park and unpark: connections wait for no heartbeat" {
	peer g1
	tell g1 open a
	attach --anchor
	anchored
	sleep 0.5 # the keeper has nothing to look at
	kcm migrate park t --time 60
	tell client begin 3
	waiting 3
	kcm migrate unpark t
	tell client finish 2
	[[ $(from g1) == 3 ]]
	# It ends by itself, too.
	kcm migrate park t --time 1
	tell client begin 3
	tell client finish 4
	[[ $(from g1) == 3 ]]
}

@test "a keeper that is killed: show says so, keep or attach --anchor hold another" {
	peer g1
	tell g1 open a
	attach --anchor
	anchored
	kill -KILL "$(keeper)"
	soon shows '.anchor_pid == null and .groups[0].waiting == null'
	run --separate-stderr kcm migrate show t
	[[ $stderr == *"no process holds its anchors"*"migrate keep t"* ]]
	connect 3
	attach --anchor
	soon waiting 0
	end g1
	tell client begin 2
	waiting 2
	peer g2
	tell g2 open a
	tell client finish
	[[ $(from g2) == 2 ]]
	kill -KILL "$(keeper)"
	soon shows '.anchor_pid == null'
	"$KCMTOOL" migrate keep t 3>&- &
	LEFT=$!
	soon waiting 0
	[[ $(keeper) == "$LEFT" ]]
	kill -TERM "$LEFT"
	wait "$LEFT"
	[[ ! -e $RUN/migrate-t ]]
	attach --anchor
	kill -KILL "$(keeper)"
	kcm migrate detach t
	[[ ! -e $RUN/migrate-t ]]
}

@test "the selector goes with the last listener: LOST, and attach gives it back" {
	peer g1
	tell g1 open a n=2
	attach
	tell g1 close a0 a1
	tell g1 open b n=2
	run --separate-stderr kcm -j migrate show t
	jq -e '.groups[0].selector == "LOST"' <<<"$output"
	[[ $stderr == *"has no selector"*"migrate attach --port $PORT --name t"* ]]
	kcm -j migrate show | jq -e '.instances[0].without_selector == 1'
	connect 4
	run -0 attach -j
	jq -e '.selectors == 1' <<<"$output"
	shows '.groups[0].selector == "on"'
	# Also if the keeper was killed, and whoever called listen() has ended.
	attach --anchor
	anchored
	kill -KILL "$(keeper)"
	soon shows '.groups[0].waiting == null'
	tell g1 close b0 b1
	tell g1 open c n=2
	tell g1 fork
	LEFT=$A
	end g1
	shows '.groups[0].selector == "LOST" and .groups[0].listeners == 2'
	run -0 attach -j
	jq -e '.selectors == 1' <<<"$output"
	shows '.groups[0].selector == "on"'
	kcm migrate policy t robin
	tell client begin 10
	shows '[.listeners[] | select(.state != "closed") | .queue] == [5, 5]'
	run -0 --separate-stderr kcm migrate detach t
	[[ -z $stderr ]]
	kill -KILL "$LEFT"
	unset LEFT
}

# ---- killed ----

count_calls() { # SYSCALL COMMAND...
	local call=$1
	shift
	strace -f -o "$BATS_TEST_TMPDIR/trace" -e trace="$call" "$@" >/dev/null 3>&-
	grep -cE "(^| )$call\(" "$BATS_TEST_TMPDIR/trace" || true
}

killed_at() { # SYSCALL N COMMAND...
	local call=$1 n=$2 status=0
	shift 2
	strace -f -o /dev/null -e trace="$call" -e inject="$call:signal=SIGKILL:when=$n" "$@" \
		>/dev/null 2>&1 3>&- || status=$?
	[[ $status == 137 ]]
}

# Whatever was left: connections are served, attach makes it whole, detach leaves nothing.
whole_again() {
	local status=0
	connect 2
	kcm -j migrate show t >/dev/null 2>&1 || status=$?
	[[ $status == 0 || $status == 7 ]]
	attach >/dev/null
	shows '.groups[0].selector == "on" and .groups[0].listeners == 2'
	connect 2
}

# All of FIRST to LAST with KCM_TEST_ALL, else three.
some() { # FIRST LAST
	(($1 <= $2)) || return 0
	if [[ -n ${KCM_TEST_ALL:-} ]]; then
		seq "$1" "$2"
	else
		printf '%s\n' "$1" $((($1 + $2) / 2)) "$2" | sort -nu
	fi
}

# bpf(2) is called often: from the first pin on.
@test "attach killed before its system calls: not there or there, and attach makes it whole" {
	local tried=0 call n i first
	local attach=("$KCMTOOL" migrate attach --port "$PORT" --cgroup "$CG" --name t)
	peer g1
	tell g1 open a n=2
	for call in bpf renameat2 mkdir flock setsockopt pidfd_getfd setns; do
		n=$(count_calls "$call" "${attach[@]}")
		kcm migrate detach t >/dev/null
		first=1
		[[ $call != bpf ]] || first=$(grep 'bpf(' "$BATS_TEST_TMPDIR/trace" | grep -n -m 1 BPF_OBJ_PIN | cut -d: -f1)
		[[ $call != setsockopt ]] || first=$((n > 4 ? n - 4 : 1))
		for i in $(some "$first" "$n"); do
			killed_at "$call" "$i" "${attach[@]}"
			whole_again
			kcm migrate detach t >/dev/null
			nothing_pinned
			((tried += 1))
		done
	done
	echo "killed $tried times" >&2
	((tried > 8))
}

@test "detach killed before its system calls: there or not, and attach or detach make it whole" {
	local tried=0 call n i
	peer g1
	tell g1 open a n=2
	for call in renameat2 unlinkat rmdir setsockopt pidfd_getfd flock bpf; do
		attach >/dev/null
		n=$(count_calls "$call" "$KCMTOOL" migrate detach t)
		for i in $(some 1 "$n"); do
			attach >/dev/null
			killed_at "$call" "$i" "$KCMTOOL" migrate detach t
			whole_again
			kcm migrate detach t >/dev/null
			nothing_pinned
			((tried += 1))
		done
	done
	echo "killed $tried times" >&2
	((tried > 5))
}

# ---- what a server may do ----

@test "shutdown() and listen() again on the same socket, listen() twice, descriptors that a fork has" {
	peer g1
	tell g1 open a n=2
	attach --policy robin
	for _ in 1 2 3; do
		tell g1 shutdown a0
		connect 4
		answer '. == {"g1.a1": 4}'
		tell g1 listen a0 64
		connect 4
		answer '. == {"g1.a0": 2, "g1.a1": 2}'
	done
	tell g1 open b
	for _ in 1 2; do
		tell g1 shutdown b
		tell g1 listen b 64
	done
	tell g1 listen b 99
	connect 6
	answer '. == {"g1.a0": 2, "g1.a1": 2, "g1.b": 2}'
	shows '.groups[0].listeners == 3 and ([.listeners[] | select(.state != "closed")] | length) == 3'
	tell g1 fork
	LEFT=$A
	tell g1 close a0 # the child has it: it listens
	shows '.groups[0].listeners == 3'
	kill -KILL "$LEFT"
	soon shows '.groups[0].listeners == 2'
	unset LEFT
	connect 4
	answer '. == {"g1.a1": 2, "g1.b": 2}'
}

@test "a draining generation takes connections when there is no other" {
	peer g1
	peer g2
	tell g1 open a
	attach --anchor
	tell g2 open b
	soon works 2
	kcm migrate generation drain t 1
	tell g2 close b
	connect 5
	[[ $(from g1) == 5 ]]
	shows '.groups[0].parked == 0'
	# One that comes back after a newer one has begun to work does not take over.
	peer g3
	tell g3 open c
	soon works 3
	tell g1 close a
	tell g1 open a
	connect 10
	[[ $(from g3) == 10 ]]
}

@test "weights, a pinned and a draining generation: there is always one that works" {
	for n in 1 2 3; do
		peer "g$n"
		tell "g$n" open a
		((n > 1)) || attach
	done
	soon works 3
	kcm migrate generation promote t 1
	kcm migrate weight t 2 50
	kcm migrate weight t 3 50
	connect 20
	[[ $(from g1) == 0 ]]
	kcm migrate generation drain t 3
	connect 40
	[[ $(from g3) == 0 && $(from g1) -gt 0 && $(from g2) -gt 0 ]]
	tell g1 close a
	connect 10
	[[ $(from g2) == 10 ]]
	tell g2 close a
	connect 10
	[[ $(from g3) == 10 ]]
	peer g4
	tell g4 open a
	soon works 4
	tell g4 close a
	connect 10
	[[ $(from g3) == 10 ]]
}

@test "the newest generation ends before it is proven: the one before it is asked" {
	for n in 1 2 3; do
		peer "g$n"
		tell "g$n" open a hold=$((n == 2 ? 0 : n - 1))
		((n > 1)) || attach
	done
	tell g3 close a
	soon works 2
}

@test "a listener that is closed with its probe waiting proves nothing" {
	peer g1
	peer g2
	tell g1 open a
	attach
	tell g2 open b hold=1 n=2
	tell client begin 2
	tell g2 close b0
	tell client begin 10
	shows '.groups[0].works == 1'
	tell client finish 1
	answer '.none <= 2 and add == 12'
}

@test "more generations, groups and listeners than there is room for: served, and said so" {
	peer g1
	peer g2
	tell g1 open a
	attach --generation manual
	for n in {1..9}; do
		kcm migrate generation new t >/dev/null
		tell g1 open "b$n"
	done
	connect 10
	shows '(.generations | length) == 8 and .groups[0].listeners == 10'
	tell g1 close a
	for n in {1..9}; do tell g1 close "b$n"; done
	shows '.groups[0].listeners == 0'
	for n in {1..9}; do tell g2 open "c$n" addr=127.0.1."$n"; done
	run -0 --separate-stderr kcm -j migrate show t
	[[ $stderr == *"could not be registered"* ]]
	jq -e '(.groups | length) == 8 and all(.groups[]; .listeners == 1 and .emptied == 0)' <<<"$output"
	for n in {1..9}; do
		tell client connect 2 to=127.0.1."$n"
		answer ". == {\"g2.c$n\": 2}"
	done
}

@test "more than 1,024 listeners of a generation" {
	peer g1
	tell g1 open a n=1030
	attach --policy robin 2>"$BATS_TEST_TMPDIR/err"
	grep -q "6 listeners could not be registered" "$BATS_TEST_TMPDIR/err"
	shows '.groups[0].listeners == 1024'
	connect 50
	answer 'length == 50'
	end g1
	soon shows '.groups[0].listeners == 0'
}

@test "dual-stack, V6ONLY, IPv4 and IPv6 are groups of their own; steering them all at once" {
	peer g1
	tell g1 open a addr=::
	tell g1 open b addr=::1 v6only=1
	tell g1 open c
	attach
	shows '(.groups | length) == 3 and all(.groups[]; .selector == "on")'
	connect 4 to=::1
	connect 4 to=127.0.0.2
	answer '. == {"g1.a": 4}'
	connect 4
	answer '. == {"g1.c": 4}'
	peer g2
	tell g2 open c
	soon shows_works_127 2
	group=$(kcm -j migrate show t | jq '.groups[] | select(.address == "[::]:'$PORT'") | .group')
	says 1 "no other generation" -- kcm migrate generation rollback t --group "$group"
	run -0 kcm -j migrate generation rollback t
	jq -e '.groups == 1' <<<"$output"
	connect 4
	[[ $(from g1.c) == 4 ]]
}
shows_works_127() { # ID
	connect 1
	shows ".groups[] | select(.address | startswith(\"127\")) | .works == $1"
}

@test "a process may call itself anything" {
	peer g1
	tell g1 name 'a"\\\xff\xc3\x1b[2J'
	tell g1 open a
	attach
	run -0 kcm -j migrate show t
	jq -e '.listeners[0].pid == '"${PID[g1]}" <<<"$output"
	run -0 kcm migrate show t -l
	[[ $output != *$'\e'* ]]
	"$KCMTOOL" migrate watch t >"$BATS_TEST_TMPDIR/text" 2>&1 3>&- &
	watch=$!
	soon sleeps "$watch"
	tell g1 name 'b\n\x1b[2Jforged'
	tell g1 open b
	soon grep -q listen "$BATS_TEST_TMPDIR/text"
	kill -TERM "$watch"
	wait "$watch"
	[[ $(wc -l <"$BATS_TEST_TMPDIR/text") == 1 && $(<"$BATS_TEST_TMPDIR/text") != *$'\e'* ]]
}

@test "a server that sets TCP_FASTOPEN after listen() and an anchor: connections move to and fro" {
	attach --anchor
	peer g1
	tell g1 open a tfo=after
	anchored
	connect 1
	kcm migrate park t
	tell client begin 3
	waiting 3
	kcm migrate unpark t
	tell client finish
	[[ $(from g1) == 3 ]]
	tell g1 hold a
	tell client begin 4
	end g1
	peer g2
	tell g2 open a tfo=after
	tell client finish
	[[ $(from g2) == 4 ]]
	shows '.groups[0].refused_kind == 0'
}

# ---- privilege ----

@test "without privilege: which one is missing, and nothing is left" {
	local tool=$BATS_TEST_TMPDIR/kcmtool
	cp "$KCMTOOL" "$tool"
	chmod 755 "$BATS_TEST_TMPDIR" "$BATS_FILE_TMPDIR" "$BATS_RUN_TMPDIR" "$tool"
	peer g1
	tell g1 open a
	says 4 cap_bpf sudo -- as_user none "$tool" migrate attach --port $PORT --pid "${PID[g1]}"
	says 4 cap_net_admin -- as_user cap_bpf "$tool" migrate attach --port $PORT --pid "${PID[g1]}"
	says 4 cap_perfmon -- as_user cap_bpf,cap_net_admin "$tool" migrate attach --port $PORT --pid "${PID[g1]}"
	nothing_pinned
	attach
	for command in "show t" "detach t" "policy t robin" "generation new t" "watch t" "park t" "keep t"; do
		# shellcheck disable=SC2086
		says 4 "" -- as_user none "$tool" migrate $command
	done
	shows '.groups[0].selector == "on" and .policy == "hash"'
}

@test "without CAP_SYS_PTRACE another user's server is registered, and why it is not steered is said" {
	local tool=$BATS_TEST_TMPDIR/kcmtool caps=cap_bpf,cap_net_admin,cap_perfmon,cap_sys_admin
	cp "$KCMTOOL" "$tool"
	chmod 755 "$BATS_TEST_TMPDIR" "$BATS_FILE_TMPDIR" "$BATS_RUN_TMPDIR" "$tool"
	peer g1
	tell g1 open a
	run -0 --separate-stderr as_user $caps "$tool" -j migrate attach --port $PORT --pid "${PID[g1]}" --name t
	echo "$stderr" >&2
	[[ $stderr == *"CAP_SYS_PTRACE is needed"* ]]
	jq -e '.selectors == 0 and .listeners == 1' <<<"$output"
	connect 2
	attach
	shows '.groups[0].selector == "on"'
	run -0 --separate-stderr as_user $caps "$tool" migrate detach t
	[[ $stderr == *"keeps the selector"* ]]
	connect 2
}
