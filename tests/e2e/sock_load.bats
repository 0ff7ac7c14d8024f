#!/usr/bin/env bats
# sock load, unload, sweep: state is kept over an upgrade, found for what is older, and gone when
# it is unloaded. Traffic is counted by who sends it.
# shellcheck disable=SC2016,SC2030,SC2031,SC2034,SC2154
bats_require_minimum_version 1.5.0
load common

DIR=$PINS/sock/default
CGROOT=$(awk '/ - cgroup2 / { print $5; exit }' /proc/self/mountinfo)
CG=$CGROOT/kcm_sockload_${KCM_TEST_RUN:-0}_$$
NS=kcmload$$

setup() {
	T=$BATS_TEST_TMPDIR
	pids=()
	mkdir -p "$CG/a" "$CG/b"
}

teardown() {
	for pid in "${pids[@]}"; do
		kill -KILL "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
	[[ ! -e /run/netns/$NS ]] || ip netns del "$NS"
	kcm unload --force >&2
	[[ ! -e $T/optmem ]] || sysctl -qw net.core.optmem_max="$(<"$T/optmem")"
	rm -rf /sys/fs/bpf/rude
	rmdir "$CG"/{a,b} 2>/dev/null || true
	rmdir "$CG"
	nothing_pinned
}

# A peer in a cgroup (and after `--`, by a command): commands by `say`, the listener's port in $port.
start_peer() { # cgroup [command...]
	local cgroup=$1
	shift
	mkfifo "$T/in" "$T/out"
	(echo "$BASHPID" >"$cgroup/cgroup.procs" &&
		exec "$@" python3 "$ROOT/tests/e2e/sock_load_peer.py" <"$T/in" >"$T/out" 3>&- 6>&- 7<&-) &
	peer=$!
	pids+=("$peer")
	exec 6>"$T/in" 7<"$T/out"
	read -r -t 20 port <&7
}

say() { # command... -> answer
	echo "$*" >&6
	read -r -t 60 answer <&7
}

end_peer() {
	exec 6>&- 7<&-
	wait "$peer"
}

# All sockets, one JSON object a line.
sockets() { cat "$PINS/sock/json" "$PINS/sock/json_rest"; }

# What the peer counted, against both ends of each of its connections.
counts_agree() { # [messages too]
	say totals
	sockets >"$T/sockets"
	jq -es --argjson totals "$answer" --arg msgs "${1:-}" '
		[.[] | select(.state == "established" and .proto == "tcp")] as $s |
		all($totals[]; . as $t |
			[$s[] | select(.lport == $t.port or .rport == $t.port)] |
			length == 2 and
			all(.[]; .tx_bytes == $t.bytes and .rx_bytes == $t.bytes and
				($msgs == "" or (.tx_msgs == $t.msgs and .rx_msgs == $t.msgs))))' \
		"$T/sockets" || { echo "totals $answer" >&2; cat "$T/sockets" >&2; return 1; }
}

# Ids of the programs that the cgroup has, by name.
programs_on() { bpftool -j cgroup show "$1" | jq -r 'sort_by(.name) | .[] | "\(.name) \(.id)"'; }

# What is pinned is made to differ from what would be loaded: the next load exchanges everything.
make_old() { rm "$DIR/show"; }

@test "load, status, unload: attached to the cgroup, pinned, and nothing of it afterwards" {
	run -0 kcm -j sock load --cgroup "$CG"
	jq -e '.result == "loaded"' <<<"$output"
	[[ $(programs_on "$CG" | grep -c '^kcm_sk_') -ge 7 ]]
	for name in snapshot refresh show show_rest json json_rest; do
		[[ -L $PINS/sock/$name && -e $PINS/sock/$name ]]
	done
	run -0 kcm -j status
	jq -e --arg cg "$CG" '.instances | length == 1 and
		(.[0] | .system == "sock" and .state == "ready" and .cgroups == $cg)' <<<"$output"
	run -0 kcm -j sock load
	jq -e '.result == "already loaded"' <<<"$output"
	kcm sock unload
	[[ -z $(programs_on "$CG") ]]
	nothing_pinned
	run -7 kcm sock unload
	run -7 kcm sock sweep
	[[ $output == "kcmtool: sock is not loaded ($DIR); try: kcmtool sock load" ]]
}

@test "load without a cgroup: the root of cgroup2, wherever that is mounted" {
	run -0 kcm load sock
	kcm -j status | jq -e --arg cg "$CGROOT" '.instances[0].cgroups == $cg'
	kcm unload sock
	mkdir "$T/elsewhere"
	run -0 unshare --mount --propagation private bash -c '
		umount -l "$1" && mount -t cgroup2 none "$2" &&
		"$KCMTOOL" sock load --cgroup "${3##*/}" && "$KCMTOOL" -j status' \
		bash "$CGROOT" "$T/elsewhere" "$CG"
	tail -n 1 <<<"$output" | jq -e --arg cg "$T/elsewhere/${CG##*/}" '.instances[0].cgroups == $cg'
	[[ -n $(programs_on "$CG") ]]
}

@test "upgrade under traffic: no byte and no message is missed, framings stay" {
	kcm sock load --cgroup "$CG"
	start_peer "$CG/a"
	kcm sock frame "$port" u32be
	say open 8
	say send 20
	counts_agree messages
	before=$(programs_on "$CG")
	map=$(bpftool -j map show pinned "$DIR/kcm_sk_hot" | jq .id)
	say start
	for _ in 1 2 3; do
		make_old
		run -0 kcm -j sock load
		jq -e '.result == "upgraded"' <<<"$output"
	done
	say stop
	counts_agree messages
	say open 2
	say send 5
	counts_agree messages
	[[ $(bpftool -j map show pinned "$DIR/kcm_sk_hot" | jq .id) == "$map" ]]
	[[ -e $PINS/sock/show ]]
	# The programs are others, and there are as many.
	[[ $(programs_on "$CG" | wc -l) == $(wc -l <<<"$before") ]]
	[[ -z $(comm -12 <(sort <<<"$before") <(programs_on "$CG" | sort)) ]]
	end_peer
}

@test "an upgrade that fails or is killed at any step: the old version goes on, the next load works" {
	kcm sock load --cgroup "$CG"
	start_peer "$CG/a"
	say open 4
	make_old
	strace -f -o "$T/trace" -e trace=bpf,renameat2 "$KCMTOOL" sock load >/dev/null
	grep -oE '(bpf\(BPF_[A-Z_]+|renameat2\()' "$T/trace" | sed 's/bpf(//; s/($//' >"$T/calls"
	# The nth call of its kind: first and last of each kind that changes something.
	for kind in BPF_MAP_CREATE BPF_PROG_LOAD BPF_OBJ_PIN BPF_LINK_CREATE BPF_LINK_UPDATE; do
		grep -v renameat2 "$T/calls" | grep -n "^$kind\$" | cut -d: -f1 | sed -n '1p;$p'
	done | sort -nu >"$T/at"
	[[ $(wc -l <"$T/at") -ge 6 ]]
	failed=0 killed=0
	while read -r n; do
		for how in error=ENOMEM signal=SIGKILL; do
			[[ -e $DIR/show ]] && make_old
			status=0
			strace -f -o /dev/null -e trace=bpf -e inject="bpf:$how:when=$n" "$KCMTOOL" sock load \
				>/dev/null 2>"$T/err" || status=$?
			case $how in
			error=*) if ((status)); then
				((failed += 1))
				[[ $(head -n 1 "$T/err") == "kcmtool: cannot load sock ("* ]]
				[[ $(grep -c '^kcmtool: ' "$T/err") == 1 ]]
			fi ;;
			*) ((status == 137)) && ((killed += 1)) ;;
			esac
			say send 3
			counts_agree
		done
	done <"$T/at"
	[[ -e $DIR/show ]] && make_old
	run -1 strace -f -o /dev/null -e trace=renameat2 -e inject=renameat2:error=EIO:when=1 \
		"$KCMTOOL" sock load
	[[ ${lines[0]} == "kcmtool: cannot load sock ("*"Input/output error"* ]]
	say send 3
	counts_agree
	echo "failed $failed times, killed $killed times" >&2
	((failed >= 3 && killed >= 6))
	[[ ! -e $DIR/show ]] || make_old
	run -0 kcm -j sock load
	jq -e '.result == "upgraded"' <<<"$output"
	[[ ! -e $PINS/stage+ ]]
	say send 3
	counts_agree
	end_peer
}

@test "sockets older than load are adopted, with their process, and counted on" {
	start_peer "$CG/a"
	say open 3
	say udp
	say send 10
	run -0 kcm -j sock load --cgroup "$CG"
	# three connections with two ends each, a listener, a connected UDP socket
	jq -e '.adopted == 8 and .adopted_listeners == 1 and .adoption_refused == 0' <<<"$output"
	counts_agree
	say send 5
	counts_agree
	say open 2 # accepted by a listener that is older than load
	say send 5
	counts_agree
	sockets | jq -es --argjson pid "$peer" '
		([.[] | select(.proto == "tcp")] | length) == 11 and
		all(.[]; .pid == $pid and (.comm | startswith("python3"))) and
		([.[] | select(.adopted)] | length) == 8 and
		([.[] | select(.proto == "udp" and .state == "established")] | length) == 1'
	say close
	sockets | jq -es '[.[] | select(.proto == "tcp" and .state == "established")] == []'
	kcm -j sock sweep | jq -e '.adopted == 0 and .swept == 0'
	end_peer
}

@test "adoption looks into every network namespace, and not into other cgroups" {
	ip netns add "$NS"
	ip -n "$NS" link set lo up
	start_peer "$CG/a" nsenter --net=/run/netns/"$NS"
	say open 2
	run -0 kcm -j sock load --cgroup "$CG/b"
	jq -e '.adopted == 0' <<<"$output"
	kcm sock unload
	run -0 kcm -j sock load --cgroup "$CG/a"
	jq -e '.adopted == 5 and .namespaces >= 2' <<<"$output"
	say send 5
	counts_agree
	end_peer
}

# Somebody else's programs, pinned in /sys/fs/bpf/rude.
load_rude() {
	mkdir -p /sys/fs/bpf/rude
	bpftool prog loadall "$BUILD/tests/sockrude.bpf.o" /sys/fs/bpf/rude pinmaps /sys/fs/bpf/rude
}

rude_seen() { bpftool -j map dump pinned /sys/fs/bpf/rude/rude_seen | jq '.[0].formatted.value'; }

@test "sweep: slots of connections whose end nobody told of are given back, others are not" {
	kcm sock load --cgroup "$CG"
	load_rude
	bpftool cgroup attach "$CG" sock_ops pinned /sys/fs/bpf/rude/rude_flags multi
	start_peer "$CG/a"
	say open 5
	say close
	say open 2
	say send 3
	kcm -j sock show | jq -es '[.[0].sockets[] | select(.role == "client")] | length == 7'
	run -0 kcm -j sock sweep
	jq -e '.swept == 10' <<<"$output"
	kcm -j sock show | jq -es '[.[0].sockets[] | select(.role == "client")] | length == 2'
	counts_agree
	bpftool -j map dump pinned "$DIR/kcm_sk_ctl" | jq -e '.[0].formatted.value.swept == 10'
	bpftool cgroup detach "$CG" sock_ops pinned /sys/fs/bpf/rude/rude_flags
	end_peer
}

@test "beside another program on the same cgroup: both count, and it stays when we go" {
	load_rude
	bpftool cgroup attach "$CG" egress pinned /sys/fs/bpf/rude/rude_count multi
	kcm sock load --cgroup "$CG"
	start_peer "$CG/a"
	say open 2
	say send 5
	counts_agree
	seen=$(rude_seen)
	((seen > 0))
	kcm sock unload
	[[ $(programs_on "$CG") == "rude_count "* && $(programs_on "$CG" | wc -l) == 1 ]]
	say send 5
	(($(rude_seen) > seen))
	end_peer
	bpftool cgroup detach "$CG" egress pinned /sys/fs/bpf/rude/rude_count
}

@test "a program that allows none beside it: refused in one line, and nothing is left" {
	load_rude
	bpftool cgroup attach "$CG" egress pinned /sys/fs/bpf/rude/rude_count
	run kcm sock load --cgroup "$CG"
	((status == 4 || status == 1))
	[[ ${lines[0]} == "kcmtool: cannot load sock ("*"allows none beside it"* ]]
	[[ $(programs_on "$CG" | wc -l) == 1 ]]
	nothing_pinned
	bpftool cgroup detach "$CG" egress pinned /sys/fs/bpf/rude/rude_count
}

@test "unload takes limits away and gives net.core.optmem_max back" {
	ip netns add "$NS"
	ip -n "$NS" link set lo up
	local at=(nsenter --net=/run/netns/"$NS")
	# Older kernels have one for all namespaces.
	if ! "${at[@]}" sysctl -qn net.core.optmem_max >/dev/null 2>&1; then
		at=()
		sysctl -n net.core.optmem_max >"$T/optmem"
	fi
	"${at[@]}" sysctl -qw net.core.optmem_max=40000
	"${at[@]}" "$KCMTOOL" sock load --cgroup "$CG" --optmem
	[[ $("${at[@]}" sysctl -n net.core.optmem_max) == 131072 ]]
	start_peer "$CG/a" "${at[@]}"
	say open 2
	say rates
	unlimited=$answer
	kcm sock limit lport "$port" rate=8Mbit || kcm sock limit rport "$port" rate=8Mbit
	say open 1
	"${at[@]}" "$KCMTOOL" sock unload
	[[ $("${at[@]}" sysctl -n net.core.optmem_max) == 40000 ]]
	say rates
	jq -e --argjson u "$unlimited" 'all(.[]; . == $u[0])' <<<"$answer"
	end_peer
}

@test "several cgroups; one inside another is not counted twice; removed ones are said to be" {
	kcm sock load --cgroup "$CG/a" --cgroup "$CG/b"
	run -6 kcm sock load --cgroup "$CG"
	[[ $output == *"$CG contains $CG/"*"unload first"* ]]
	kcm sock unload
	kcm sock load --cgroup "$CG" --cgroup "$CG/a"
	[[ -z $(programs_on "$CG/a") ]]
	kcm sock unload
	kcm sock load --cgroup "$CG/a" --cgroup "$CG/b"
	rmdir "$CG/a"
	# The kernel lets go of a removed cgroup in its own time.
	until_removed() {
		for _ in {1..1200}; do
			kcm -j status | jq -e ".instances[0].cgroups_removed == $1" >/dev/null && return
			sleep 0.05
		done
		return 1
	}
	until_removed 1
	kcm sock load
	rmdir "$CG/b"
	until_removed 2
	run -6 kcm sock load
	[[ $output == *"every cgroup it was on has been removed"* ]]
	run -0 kcm sock load --cgroup "$CG"
	kcm -j status | jq -e '.instances[0].cgroups_removed == 0'
	mkdir "$CG"/{a,b}
}

@test "what is refused: one line, its exit code, nothing left" {
	refused() { # exit-status text command...
		local code=$1 text=$2
		shift 2
		run -"$code" "$@"
		# What follows it is libbpf's.
		[[ ${lines[0]} == "kcmtool: "*"$text"*"; try: "* && $(grep -c "^kcmtool: " <<<"$output") == 1 ]] ||
			{ echo "$output" >&2; return 1; }
		nothing_pinned
	}
	refused 6 "No such file or directory" kcm sock load --cgroup nosuch
	refused 6 "/tmp is no directory of cgroup2" kcm sock load --cgroup /tmp
	refused 2 "bad value '0'" kcm sock load --sockets 0
	refused 2 "bad value '5M'" kcm sock load --sockets 5M
	strace -f -o "$T/trace" -e trace=bpf "$KCMTOOL" sock load --cgroup "$CG" >/dev/null
	n=$(grep 'bpf(' "$T/trace" | grep -n 'BPF_MAP_CREATE.*"kcm_sk_more"' | head -n 1 | cut -d: -f1)
	kcm sock unload # libbpf tries again without BTF: two in a row
	refused 1 "16384 slots: Cannot allocate memory" strace -f -o /dev/null -e trace=bpf \
		-e inject="bpf:error=ENOMEM:when=$n..$((n + 1))" "$KCMTOOL" sock load --cgroup "$CG"
	cp "$KCMTOOL" "$T/kcmtool"
	chmod 755 "$T" "$BATS_FILE_TMPDIR" "$BATS_RUN_TMPDIR" "$T/kcmtool"
	refused 4 "is not permitted" as_user none "$T/kcmtool" sock load
	refused 4 "is not permitted" as_user cap_bpf "$T/kcmtool" sock load
	kcm sock load --cgroup "$CG" --sockets 2000
	run -6 kcm sock load --sockets 64k
	[[ $output == *"it runs with 2048 slots, 65536 are asked for"* ]]
	kcm sock load --sockets 2k
}

@test "a bpffs that is read-only: refused, and nothing is attached" {
	run unshare --mount --propagation private bash -c '
		mount -o remount,bind,ro /sys/fs/bpf && "$KCMTOOL" sock load --cgroup "$1"' bash "$CG"
	((status == 4))
	[[ ${#lines[@]} == 1 && $output == *"/sys/fs/bpf is mounted read-only"* ]]
	[[ -z $(programs_on "$CG") ]]
}

@test "load killed: what is staged is cleaned by the next command, links without a target too" {
	strace -f -o "$T/trace" -e trace=symlink "$KCMTOOL" sock load --cgroup "$CG" >/dev/null
	n=$(grep -c 'symlink(' "$T/trace")
	((n >= 6))
	kcm sock unload
	for call in symlink:signal=SIGKILL:when=3 renameat2:signal=SIGKILL:when=1; do
		run -137 strace -f -o /dev/null -e trace="${call%%:*}" -e inject="$call" \
			"$KCMTOOL" sock load --cgroup "$CG"
		run -7 kcm sock unload
		nothing_pinned
		[[ -z $(programs_on "$CG") ]]
	done
	kcm sock load --cgroup "$CG"
}

@test "CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON are enough to load and unload" {
	cp "$KCMTOOL" "$T/kcmtool"
	chmod 755 "$T" "$BATS_FILE_TMPDIR" "$BATS_RUN_TMPDIR" "$T/kcmtool"
	run -0 as_user cap_bpf,cap_net_admin,cap_perfmon "$T/kcmtool" -j sock load --cgroup "$CG"
	run -0 as_user cap_bpf,cap_net_admin,cap_perfmon "$T/kcmtool" -j status
	jq -e '.instances[0].state == "ready"' <<<"$output"
	run -0 as_user cap_bpf,cap_net_admin,cap_perfmon "$T/kcmtool" sock unload
	nothing_pinned
}
