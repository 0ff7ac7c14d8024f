#!/usr/bin/env bats
# sock beside other people's programs on the same cgroup, in cgroups of containers, and with
# cgroup2 mounted elsewhere: counts stay exact, and unload leaves the cgroup as it was.
bats_require_minimum_version 1.5.0
load common
load sock_kit

EXACT=$BUILD/tests/sock_exact
CHURN=$BUILD/tests/sock_churn
BESIDE=$BUILD/tests/sock_beside
SEED=${KCM_SEED:-$((RANDOM + 1))}

setup() { other=""; }

teardown() {
	others_end
	if [[ -e $SOCK ]]; then kcm sock unload; fi
	[[ ! -d $CGROUP ]] || rmdir_all "$CGROUP"
	nothing_pinned
}

SOCK=$PINS/sock/default

# For programs that go on until their stdin ends, which is when fd 9 is closed.
stdin_begin() {
	STDIN=$BATS_TEST_TMPDIR/stdin
	[[ -e $STDIN ]] || mkfifo "$STDIN"
	exec 9<>"$STDIN"
}

others() { # PROGRAM...
	stdin_begin
	"$BESIDE" "$CGROUP" "$@" <"$STDIN" >"$BATS_TEST_TMPDIR/beside" 2>&1 3>&- 9>&- &
	other=$!
	until grep -q ready "$BATS_TEST_TMPDIR/beside"; do
		kill -0 "$other" || { cat "$BATS_TEST_TMPDIR/beside"; return 1; }
		sleep 0.05
	done
}

others_end() {
	[[ -n $other ]] || return 0
	exec 9>&-
	wait "$other"
	other=""
}

exact() { # NAME=VALUE...
	echo "seed=$SEED $*"
	run inside timeout 240 "$EXACT" seed="$SEED" "$@"
	echo "$output"
	((status == 0))
}

frames() { kcm sock frame 7001 u32be; }

tree() { bpftool -j cgroup show "$CGROUP" | jq -c 'map({attach_type, name}) | sort'; }

@test "others first, then ours; others last: 20 storages a socket, drops both ways" {
	mkdir "$CGROUP"
	others other_store other_out other_in other_create other_conn
	before=$(tree)
	kcm sock load cgroup "$CGROUP"
	frames
	exact framed=1 port=7001 conns=8 msgs=100 max=20000 lossy=1 unframed-ok=1 alone=1
	exact conns=8 msgs=100 max=20000 lossy=1 alone=1
	[[ $(tree) != "$before" ]]
	kcm sock unload
	[[ $(tree) == "$before" ]]
	others_end
	kcm sock load cgroup "$CGROUP"
	frames
	before=$(tree)
	others other_store other_out other_in other_create other_conn
	exact framed=1 port=7001 conns=8 msgs=100 max=20000 lossy=1 unframed-ok=1 alone=1
	others_end
	[[ $(tree) == "$before" ]]
}

@test "20 storages of others on every socket, with slots and beyond them" {
	mkdir "$CGROUP"
	others other_store
	kcm sock load cgroup "$CGROUP" sockets 1024
	frames
	exact framed=1 port=7001 fill=2000 beyond=1 conns=8 msgs=300
	exact framed=1 port=7001 conns=8 msgs=300
}

@test "a program that takes our callbacks away: slots come back by sweep" {
	mkdir "$CGROUP"
	kcm sock load cgroup "$CGROUP"
	others other_rtt
	run -0 inside "$CHURN" few 200
	kcm sock sweep
	[[ $(inside "$CHURN" slots) == 0 ]]
}

@test "cgroups of containers: made, used and removed while sockets live" {
	sock_begin
	frames
	mkdir -p "$CGROUP/pod/one"
	# shellcheck disable=SC2016
	bash -c 'echo $$ >"$CGROUP/pod/one/cgroup.procs" && exec "$@"' bash \
		timeout 240 "$EXACT" seed="$SEED" framed=1 port=7001 conns=8 msgs=300 alone=1
	stdin_begin
	# shellcheck disable=SC2016
	bash -c 'echo $$ >"$CGROUP/pod/one/cgroup.procs" && exec "$@"' bash "$CHURN" herd 200 \
		<"$STDIN" >"$BATS_TEST_TMPDIR/herd" 2>&1 3>&- 9>&- &
	herd=$!
	until grep -q ready "$BATS_TEST_TMPDIR/herd"; do
		kill -0 "$herd" || { cat "$BATS_TEST_TMPDIR/herd"; return 1; }
		sleep 0.05
	done
	kcm -j sock show | jq -e '[.sockets[] | select(.cgroup // "" | endswith("/pod/one"))] |
		length == 200'
	mapfile -t members <"$CGROUP/pod/one/cgroup.procs"
	for pid in "${members[@]}"; do
		echo "$pid" >"$CGROUP/cgroup.procs"
	done
	rmdir "$CGROUP/pod/one"
	kcm -j sock show | jq -e '[.sockets[] | select(.comm == "sock_churn")] | length == 200'
	exec 9>&-
	wait "$herd" || { cat "$BATS_TEST_TMPDIR/herd"; return 1; }
	[[ $(inside "$CHURN" slots) == 0 ]]
	rmdir_all "$CGROUP/pod"
	exact framed=1 port=7001 conns=8 msgs=100 alone=1
}

@test "cgroup2 mounted elsewhere" {
	mkdir "$CGROUP" "$BATS_TEST_TMPDIR/cg"
	# shellcheck disable=SC2016
	unshare --mount --propagation private bash -c '
		mount -t cgroup2 none "$1" && umount "$2" &&
		"$3" sock load cgroup "$1/${4##*/}"' bash "$BATS_TEST_TMPDIR/cg" "$CGROUPS" \
		"$KCMTOOL" "$CGROUP"
	frames
	exact framed=1 port=7001 conns=8 msgs=100 alone=1
}
