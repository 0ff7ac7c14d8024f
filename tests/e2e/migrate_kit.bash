# Shared by migrate_restart.bats and tests/bench/migrate_restart.sh: servers of several kinds in a
# network namespace and a cgroup of their own, restarted under a load that checks every byte.
# Wants BUILD, KCMTOOL and ROOT, as common.bash sets them. No function depends on how long something
# takes: all wait for conditions.
# shellcheck shell=bash
#
#   migrate_begin                     namespace, cgroup, files to serve
#   restart_case NAME RESTARTS MODE   JSON on stdout; NAME of restart_cases, MODE none|sysctl|bpf|anchor
#   migrate_end                       nothing is left
#
# A generation is one start or reload of a server, named g1, g2...; its first process is ${GEN_PID[g1]}.

MIG_CGROUPS=$(awk '/ - cgroup2 / { print $5; exit }' /proc/self/mountinfo)
MIG_CG=$MIG_CGROUPS/kcm_migrate_${KCM_TEST_RUN:-$$-0}
MIG_NS=kcm-migrate-$$
MIG_PORT=8099
MIG_E2E=$ROOT/tests/e2e
MIG_SOURCE6=fd00:6b63:6d::

: "${MIG_BETWEEN:=1000}" # connections between two restarts
: "${MIG_CONNS:=10000}"  # of a case, at least
: "${MIG_CONC:=64}"      # at a time
: "${MIG_GAP:=0.1}"      # seconds without a server, where a case has a gap

: "${MIG_TIMEOUT:=40}"   # seconds that a client waits: a busy machine takes its time to start a server
: "${MIG_WITNESS:=}"     # 1: tell what the kernel loses from what we do

# shellcheck source=tests/e2e/migrate_races.bash
source "$MIG_E2E/migrate_races.bash"

declare -gA GEN_PID GEN_KIND

migrate_begin() {
	MIG_DIR=$(mktemp -d /tmp/kcm-migrate.XXXXXX)
	GEN_PID=() GEN_KIND=() MIG_LOAD='' MIG_HOOK='' MIG_RACES='' MIG_HANGS=''
	mkdir "$MIG_CG" "$MIG_DIR/www"
	head -c 6000 /dev/urandom | base64 -w 0 >"$MIG_DIR/www/file"
	ip netns add "$MIG_NS"
	ip -n "$MIG_NS" link set lo up
	ip -n "$MIG_NS" -6 route add local "$MIG_SOURCE6/64" dev lo
	# Not 0x400, TFO for all listeners: HAProxy takes it off those that it inherits, and nothing
	# moves from one with it to one without.
	in_net sysctl -qw net.core.somaxconn=4096 net.ipv4.tcp_max_syn_backlog=8192 \
		net.ipv4.ip_local_port_range="10000 65000" net.ipv4.tcp_fastopen=0x203
}

migrate_end() {
	load_abandon
	gen_kill_all
	hook_off
	races_off
	loss_off
	ip netns del "$MIG_NS"
	rmdir_gone "$MIG_CG"
	rm -rf "$MIG_DIR"
}

in_net() { nsenter --net="/run/netns/$MIG_NS" "$@"; }

# ---- waiting ----

# Until COMMAND is true. Three minutes are no measure of anything: what takes longer hangs, and after
# it nothing is waited for any more.
wait_until() { # WHAT COMMAND...
	local what=$1 end=$((SECONDS + 180))
	shift
	until "$@"; do
		if ((SECONDS > end)) || [[ -n $MIG_HANGS ]]; then
			[[ -n $MIG_HANGS ]] || echo "migrate_kit: $what: not after three minutes" >&2
			MIG_HANGS=$what
			return 1
		fi
		sleep 0.01
	done
}

# What was killed may take its time to leave.
rmdir_gone() { wait_until "$1 is empty" rmdir_try "$1"; }
rmdir_try() { rmdir "$1" 2>/dev/null || [[ ! -d $1 ]]; }

gone() { # PID...
	local pid
	for pid; do
		[[ ! -e /proc/$pid || $(proc_state "$pid") == Z ]] || return 1
	done
}

proc_state() { sed 's/.*) //; s/ .*//' "/proc/$1/stat" 2>/dev/null; }

# PID and all its descendants.
tree_of() { # PID
	local child
	echo "$1"
	for child in $(pgrep -P "$1"); do
		tree_of "$child"
	done
}

# Does any of the processes have a listener on the port?
listens() { # PID...
	local all pid
	all=$(in_net ss -Htlnp "sport = :$MIG_PORT")
	for pid; do
		[[ $all != *"pid=$pid,"* ]] || return 0
	done
	return 1
}

children() { pgrep -P "$1" | sort; }

# ---- servers: start KIND GENERATION WORKERS returns when it is ready ----

# In the cgroup and the namespace, in the background; its output is in a file.
gen_run() { # GENERATION COMMAND...
	local gen=$1
	shift
	rm -f "$MIG_DIR/$gen.out" # of an earlier case
	# shellcheck disable=SC2016
	MIG_CG=$MIG_CG bash -c 'echo $$ >"$MIG_CG/cgroup.procs" && exec "$@"' bash \
		nsenter --net="/run/netns/$MIG_NS" "$@" \
		>"$MIG_DIR/$gen.out" 2>&1 </dev/null 3>&- &
	GEN_PID[$gen]=$!
}

gen_alive() { # GENERATION
	gone "${GEN_PID[$1]}" || return 0
	echo "migrate_kit: $1 has ended:" >&2
	cat "$MIG_DIR/$1".* >&2
	return 1
}

gen_says_ready() { grep -qs "^ready" "$MIG_DIR/$1.out" || ! gen_alive "$1"; }

# nginx: all workers are there. HAProxy: the worker, or the only process, listens.
ng_ready() { # GENERATION WORKERS
	local pid=${GEN_PID[$1]}
	gen_alive "$1" || return 0
	[[ $(children "$pid" | wc -l) == "$2" ]] && listens "$pid"
}

ha_ready() { # GENERATION
	gen_alive "$1" || return 0
	# shellcheck disable=SC2046 # pids
	listens $(tree_of "${GEN_PID[$1]}")
}

gen_start() { # KIND GENERATION WORKERS
	local kind=$1 gen=$2 workers=$3 dir=$MIG_DIR
	GEN_KIND[$gen]=$kind
	case $kind in
	c | c6 | c46 | cshut | cdelay | ctfo)
		local -A more=([c]='' [c6]='--family 6' [c46]='--family 46' [cshut]=--shutdown
			[cdelay]='--accept-delay 50' [ctfo]='--fastopen')
		# shellcheck disable=SC2086
		gen_run "$gen" "$BUILD/tests/migrate_server" ${more[$kind]} \
			--gen "$gen" --workers "$workers" "$MIG_PORT"
		;;
	ex)
		gen_run "$gen" "$BUILD/examples/restart_server" "127.0.0.1:$MIG_PORT" "$dir/www/file"
		wait_until "the example $gen listens" example_more 0 && gen_alive "$gen"
		return
		;;
	py) gen_run "$gen" python3 "$MIG_E2E/migrate_server.py" --gen "$gen" \
		--workers "$workers" "$MIG_PORT" ;;
	js | jsc)
		# shellcheck disable=SC2046
		gen_run "$gen" node "$MIG_E2E/migrate_server.js" --gen "$gen" --workers "$workers" \
			$([[ $kind == jsc ]] || echo --exclusive) "$MIG_PORT"
		;;
	go)
		go_build || return 1
		gen_run "$gen" "$BUILD/tests/migrate_server_go" --gen "$gen" --workers "$workers" "$MIG_PORT"
		;;
	ng)
		ng_config "$gen" "$workers" >"$dir/$gen.conf"
		gen_run "$gen" nginx -e "$dir/$gen.log" -p "$dir" -c "$dir/$gen.conf"
		wait_until "nginx $gen is ready" ng_ready "$gen" "$workers" && gen_alive "$gen"
		return
		;;
	ha | ham)
		local -A more=([ha]=-db [ham]=-W)
		ha_config "$gen" "$workers" >"$dir/$gen.conf"
		gen_run "$gen" haproxy "${more[$kind]}" -f "$dir/$gen.conf"
		wait_until "haproxy $gen is ready" ha_ready "$gen" && gen_alive "$gen"
		return
		;;
	*)
		echo "migrate_kit: $kind: no such server" >&2
		return 1
		;;
	esac
	wait_until "$kind $gen is ready" gen_says_ready "$gen" && gen_alive "$gen"
}

# The example says its pid, a line for each generation of itself, in the output of the first.
example_lines() { grep -cs ", listening on port" "$MIG_DIR/g1.out"; }
example_more() { (($(example_lines) > $1)); }
example_newest() { sed -n 's/.*, pid \([0-9]*\):.*/\1/p' "$MIG_DIR/g1.out" | tail -n 1; }

go_build() {
	local program=$BUILD/tests/migrate_server_go
	[[ $program -nt $MIG_E2E/migrate_server.go ]] ||
		GOCACHE=$MIG_DIR/go go build -o "$program" "$MIG_E2E/migrate_server.go"
}

ng_config() { # GENERATION WORKERS
	cat <<-END
		daemon off;
		user root;
		worker_processes $2;
		pid $MIG_DIR/ng-${GEN_NAME:-$1}.pid;
		events { worker_connections 2048; }
		http {
			access_log off;
			keepalive_timeout 0;
			server {
				listen 127.0.0.1:$MIG_PORT reuseport backlog=4096;
				root $MIG_DIR/www;
				default_type text/plain;
				add_header X-Id \$arg_id;
				add_header X-Gen $1;
				add_header X-Pid \$pid;
			}
		}
	END
}

ha_config() { # GENERATION THREADS
	cat <<-END
		global
			nbthread $2
		defaults
			mode http
			timeout client 50s
			timeout connect 50s
			timeout server 50s
		frontend test
			bind 127.0.0.1:$MIG_PORT shards by-thread backlog 4096
			http-request return status 200 content-type text/plain file $MIG_DIR/www/file hdr X-Id %[url_param(id)] hdr X-Gen $1 hdr X-Pid %pid
	END
}

# The gentle end, which is waited for.
gen_stop() { # GENERATION
	local sig=TERM
	case ${GEN_KIND[$1]} in
	ng) sig=QUIT ;;
	ha | ham) sig=USR1 ;;
	esac
	gen_signal "$1" "$sig"
	gen_wait "$1"
}

gen_signal() { kill -"$2" "${GEN_PID[$1]}"; }

gen_wait() { # GENERATION
	wait_until "$1 has ended" gone "${GEN_PID[$1]}"
	wait "${GEN_PID[$1]}" || true # its status is no matter: HAProxy says 130 after SIGUSR1
	unset "GEN_PID[$1]"
}

# ---- SIGKILL: what the processes had accepted dies with them, and is noted ----

stopped() { # PID...
	local pid
	for pid; do
		[[ $(proc_state "$pid") == [TZX] || ! -e /proc/$pid ]] || return 1
	done
}

# Stopped processes accept nothing more: what they own now is what they have accepted. Connections
# that still wait in an accept queue have no owner.
note_accepted() { # PID...
	local which
	which=$(printf 'pid=%s,|' "$@")
	in_net ss -Htanp "sport = :$MIG_PORT" | grep -E "${which%|}" |
		awk '$1 != "LISTEN" { print $5 }' |
		sed -E 's/^\[?([^]]*)\]?:([0-9]+)$/\1 \2/; s/^::ffff://' >>"$MIG_DIR/killed" || true
}

kill_noted() { # PID...
	kill -STOP "$@"
	wait_until "processes are stopped" stopped "$@"
	note_accepted "$@"
	kill -KILL "$@"
	wait_until "processes are killed" gone "$@"
}

gen_kill() { # GENERATION
	local pid=${GEN_PID[$1]} all
	# The master first, so that it starts no others.
	kill -STOP "$pid"
	wait_until "$1 is stopped" stopped "$pid"
	mapfile -t all < <(tree_of "$pid")
	kill_noted "${all[@]}"
	wait "$pid" 2>/dev/null || true
	unset "GEN_PID[$1]"
}

# Connections that wait for the worker's accept().
queue_of() { # PID
	in_net ss -Htlnp "sport = :$MIG_PORT" | awk -v pid="pid=$1," 'index($0, pid) { print $2 }'
}

queue_has() { # PID N
	local n
	n=$(queue_of "$1")
	((${n:-0} >= $2)) || gone "$MIG_LOAD"
}

# A worker stops accepting, its queue fills, and it is killed. Its master starts another.
worker_kill() { # GENERATION
	local pid
	pid=$(children "${GEN_PID[$1]}" | shuf -n 1)
	kill -STOP "$pid"
	wait_until "connections wait for $pid" queue_has "$pid" 16
	kill_noted "$pid"
	wait_until "another worker listens" worker_new "${GEN_PID[$1]}" "$pid"
}

worker_new() { # MASTER OLD
	local now
	mapfile -t now < <(children "$1")
	[[ " ${now[*]} " != *" $2 "* ]] && ((${#now[@]} == MIG_WORKERS)) && listens "${now[@]}"
}

gen_kill_all() {
	local gen pids
	for gen in "${!GEN_PID[@]}"; do
		mapfile -t pids < <(tree_of "${GEN_PID[$gen]}")
		kill -KILL "${pids[@]}" 2>/dev/null || true
		wait "${GEN_PID[$gen]}" 2>/dev/null || true
	done
	GEN_PID=()
	# Children that were left by a parent that died.
	[[ ! -d $MIG_CG ]] || xargs -r kill -KILL <"$MIG_CG/cgroup.procs" 2>/dev/null || true
}

# ---- the load ----

load_start() { # KIND
	local address=127.0.0.1 args=()
	case $1 in
	c6) address=::1 args=(--source "$MIG_SOURCE6") ;;
	ctfo) args=(--fastopen) ;;
	ng | ha | ham | ex) args=(--http "$MIG_DIR/www/file") ;;
	esac
	rm -f "$MIG_DIR/progress" "$MIG_DIR/load.json"
	: >"$MIG_DIR/killed"
	: >"$MIG_DIR/raced"
	nsenter --net="/run/netns/$MIG_NS" "$BUILD/tests/migrate_load" "$address" "$MIG_PORT" --conc "$MIG_CONC" --timeout "$MIG_TIMEOUT" \
		--progress "$MIG_DIR/progress" --killed "$MIG_DIR/killed" --raced "$MIG_DIR/raced" \
		--log "$MIG_DIR/failures" "${args[@]}" >"$MIG_DIR/load.json" 3>&- &
	MIG_LOAD=$!
	wait_until "the load has begun" test -s "$MIG_DIR/progress"
}

load_done() { # -> connections that have ended, however
	local n
	read -r n _ <"$MIG_DIR/progress"
	echo "$n"
}

load_reached() { (($(load_done) >= $1)) || gone "$MIG_LOAD"; }

# Until N more connections have ended.
load_more() { wait_until "$1 connections more" load_reached $(($(load_done) + $1)); }

# Until N have ended since the start, for as long as any end.
load_total() { # N
	while (($(load_done) < $1)) && ! gone "$MIG_LOAD"; do
		load_more 1 || return 1
	done
}

# Until a response of a generation has come.
load_answers() { wait_until "$1 has answered" load_has "$1"; } # GENERATION

load_has() {
	[[ " $(<"$MIG_DIR/progress") " == *" $1 "* ]] || gone "$MIG_LOAD"
}

load_end() {
	kill -TERM "$MIG_LOAD"
	wait "$MIG_LOAD"
	MIG_LOAD=''
}

load_abandon() {
	[[ -n $MIG_LOAD ]] || return 0
	kill -KILL "$MIG_LOAD" 2>/dev/null || true
	wait "$MIG_LOAD" 2>/dev/null || true
	MIG_LOAD=''
}

# ---- modes ----

mode_on() { # MODE
	case $1 in
	none) in_net sysctl -qw net.ipv4.tcp_migrate_req=0 ;;
	sysctl) in_net sysctl -qw net.ipv4.tcp_migrate_req=1 ;;
	bpf) mode_attach ;;
	anchor) mode_attach --anchor ;;
	*)
		echo "migrate_kit: $1: no such mode" >&2
		return 1
		;;
	esac
}

# MIG_ATTACH: more options.
mode_attach() { # OPTION...
	in_net sysctl -qw net.ipv4.tcp_migrate_req=0
	# shellcheck disable=SC2086
	in_net "$KCMTOOL" migrate attach --port "$MIG_PORT" --cgroup "$MIG_CG" --name kcmtest \
		${MIG_ATTACH:-} "$@" >&2 3>&-
}

mode_off() { # MODE
	[[ $1 == bpf || $1 == anchor ]] || return 0
	in_net "$KCMTOOL" -j migrate show kcmtest >"$MIG_DIR/show.json" || return 1
	in_net "$KCMTOOL" migrate detach kcmtest >&2
}

# Before a server stops without a successor: a command of the tool, if it wants one (MIG_PARK). What
# was half open before that still ends at the server.
mode_park() { # MODE
	[[ $1 == anchor && -n ${MIG_PARK:-} ]] || return 0
	# shellcheck disable=SC2086
	in_net "$KCMTOOL" $MIG_PARK >&2 && wait_until "handshakes have ended" nothing_half_open
}

nothing_half_open() { [[ -z $(in_net ss -Htan state syn-recv "sport = :$MIG_PORT") ]]; }

# SO_REUSEPORT for a server that can't ask for it.
hook_on() {
	MIG_HOOK=/sys/fs/bpf/kcmhook-$$
	mkdir -p "$MIG_HOOK"
	bpftool prog loadall "$BUILD/tests/reuseport.bpf.o" "$MIG_HOOK"
	bpftool cgroup attach "$MIG_CG" cgroup_inet4_bind pinned "$MIG_HOOK/reuseport_bind4" multi
	bpftool cgroup attach "$MIG_CG" cgroup_inet6_bind pinned "$MIG_HOOK/reuseport_bind6" multi
}

hook_off() {
	[[ -n $MIG_HOOK ]] || return 0
	bpftool cgroup detach "$MIG_CG" cgroup_inet4_bind pinned "$MIG_HOOK/reuseport_bind4"
	bpftool cgroup detach "$MIG_CG" cgroup_inet6_bind pinned "$MIG_HOOK/reuseport_bind6"
	rm -rf "$MIG_HOOK"
	MIG_HOOK=''
}

# Every twentieth packet of the namespace, in either direction, is lost.
loss_on() {
	MIG_LOSS=/sys/fs/bpf/kcmloss-$$
	bpftool prog load "$BUILD/tests/loss.bpf.o" "$MIG_LOSS"
	in_net bpftool net attach xdpgeneric pinned "$MIG_LOSS" dev lo
}

loss_off() {
	[[ -n ${MIG_LOSS:-} ]] || return 0
	in_net bpftool net detach xdpgeneric dev lo
	rm "$MIG_LOSS"
	MIG_LOSS=''
}

# ---- cases: KIND_HOW ----

# overlap: the new generation is ready before the old one stops.   gap: the other way round.
# settled: overlap, and the old one waits for handshakes that have begun with it.
# kill: the whole generation by SIGKILL, then a new one.            worker: SIGKILL of one worker.
# reload: as the server does it, workers change.                    same: reload, workers stay.
# self: it says itself when it is ready, and drains (libkcm).
# sf: a new HAProxy stops the old one.
# jsc_overlap is not one of them: Node's cluster without listeners of the workers' own accepts in the
# master, and drops what no worker has taken when they end. No kernel can save these.
# shellcheck disable=SC2034
RESTART_CASES=(c_worker c_overlap cshut_overlap c6_overlap ctfo_overlap cdelay_overlap c_gap c_kill
	py_overlap py_gap js_overlap js_gap go_overlap go_gap
	ex_self ng_same ng_reload ng_overlap ng_kill ham_reload ha_sf ha_gap)

workers_of() { echo $((2 + $1 % 3)); } # of the nth generation: 3 4 2 3 4 2...

restart_overlap() { # KIND OLD NEW N
	gen_start "$1" "$3" "$(workers_of "$4")" && gen_stop "$2"
}

# The same, and the old one stops when no handshake is half done that began before the new one worked.
restart_settled() { # KIND OLD NEW N
	gen_start "$1" "$3" "$(workers_of "$4")" || return 1
	load_more $((2 * MIG_CONC)) || return 1
	half_open >"$MIG_DIR/half_open"
	wait_until "handshakes are done" none_of_these "$MIG_DIR/half_open"
	gen_stop "$2"
}

half_open() { in_net ss -Htan state syn-recv "sport = :$MIG_PORT" | awk '{ print $4 }' | sort; }
none_of_these() { [[ -z $(half_open | comm -12 - "$1") ]]; }

restart_gap() {
	mode_park "$MIG_MODE" || return 1
	gen_stop "$2"
	sleep "$MIG_GAP"
	gen_start "$1" "$3" "$(workers_of "$4")"
}

restart_kill() {
	gen_kill "$2"
	sleep "$MIG_GAP"
	gen_start "$1" "$3" "$(workers_of "$4")"
}

# The generation stays, and so does its name.
restart_worker() {
	worker_kill "$2"
	GEN_PID[$3]=${GEN_PID[$2]} GEN_KIND[$3]=$1
	unset "GEN_PID[$2]"
}

restart_same() { restart_reload "$1" "$2" "$3" 1; }

# nginx and HAProxy keep their first process. All old workers have gone when we return.
restart_reload() {
	local pid=${GEN_PID[$2]} old sig=HUP
	mapfile -t old < <(children "$pid")
	if [[ $1 == ng ]]; then
		GEN_NAME=g1 ng_config "$3" "$(workers_of "$4")" >"$MIG_DIR/g1.conf"
	else
		ha_config "$3" "$(workers_of "$4")" >"$MIG_DIR/g1.conf"
		sig=USR2
	fi
	kill -"$sig" "$pid"
	GEN_PID[$3]=$pid GEN_KIND[$3]=$1
	unset "GEN_PID[$2]"
	wait_until "workers of $2 have gone" gone "${old[@]}"
	if [[ $1 == ng ]]; then
		wait_until "nginx $3 is ready" ng_ready "$3" "$(workers_of "$4")"
	else
		wait_until "haproxy $3 is ready" ha_ready "$3"
	fi
	gen_alive "$3"
}

restart_self() {
	local n pid=${GEN_PID[$2]}
	n=$(example_lines)
	kill -HUP "$pid"
	wait_until "the example's $3 listens" example_more "$n" || return 1
	GEN_PID[$3]=$(example_newest) GEN_KIND[$3]=$1
	unset "GEN_PID[$2]"
	wait_until "the example's $2 has ended" gone "$pid"
}

restart_sf() {
	GEN_KIND[$3]=$1
	ha_config "$3" "$(workers_of "$4")" >"$MIG_DIR/$3.conf"
	gen_run "$3" haproxy -db -f "$MIG_DIR/$3.conf" -sf "${GEN_PID[$2]}"
	gen_wait "$2"
	wait_until "haproxy $3 is ready" ha_ready "$3"
	gen_alive "$3"
}

# Why a case can't be had here, if so.
case_lacks() { # NAME
	case $1 in
	js*) [[ -n $(type -P node) ]] || echo "no node" ;;
	go_*) [[ -n $(type -P go) ]] || echo "no go" ;;
	esac
}

# The load, all the while RESTARTS restarts.
restart_under_load() { # KIND HOW RESTARTS
	local n
	load_start "$1"
	for ((n = 1; n <= $3; n++)); do
		generation_works "$1" "$2" "$n" || return 1
		"restart_$2" "$1" "g$n" "g$((n + 1))" "$((n + 1))" || return 1
	done
	generation_works "$1" "$2" "$n" && load_total "$MIG_CONNS" || return 1
	races_note
	load_end
}

# The nth has answered, and more connections have come than that. Of one whose worker is killed it is
# the first that goes on; the example calls its generations by names of its own.
generation_works() { # KIND HOW N
	load_more "$MIG_BETWEEN" || return 1
	case $1_$2 in
	*_worker) load_answers g1 ;;
	ex_*) ;;
	*) load_answers "g$3" ;;
	esac
}

restart_case() { # NAME RESTARTS MODE
	local kind=${1%_*} how=${1##*_} status=0
	MIG_MODE=$3 MIG_WORKERS=$(workers_of 1)
	[[ $kind != js* ]] || hook_on
	[[ -z $MIG_WITNESS ]] || races_on || return 1
	if gen_start "$kind" g1 "$MIG_WORKERS" && mode_on "$3"; then
		restart_under_load "$kind" "$how" "$2" || status=1
		load_abandon
		mode_off "$3" || status=1
	else
		status=1
	fi
	gen_kill_all
	hook_off
	races_off
	((status == 0)) && [[ -z $MIG_HANGS ]] || return 1
	jq -c --arg case "$1" --arg mode "$3" --argjson restarts "$2" \
		'{case: $case, mode: $mode, restarts: $restarts} + .' "$MIG_DIR/load.json"
}
