#!/usr/bin/env bats
# load, unload, status: pins appear and disappear whole, whatever happens in between.
bats_require_minimum_version 1.5.0
load common

teardown() {
	kcm unload --force >&2
	nothing_pinned
}

@test "load, status, unload" {
	run -7 kcm status
	run -0 kcm -j load mux
	jq -e '.loaded[0] | .system == "mux" and .name == "default" and .result == "loaded"' <<<"$output"
	run -0 kcm -j status
	jq -e '.instances[0] | .state == "ready" and .users == 0' <<<"$output"
	run -0 kcm unload
	run -7 kcm status
	nothing_pinned
}

@test "load without a name: every system, and unload takes every one away" {
	run -0 --separate-stderr kcm -j load
	jq -e '[.loaded[] | "\(.system) \(.result)"] == ["mux loaded", "sock loaded"]' <<<"$output"
	kcm -j status | jq -e '[.instances[] | "\(.system) \(.state)"] == ["mux ready", "sock ready"]'
	run -0 --separate-stderr kcm -j load
	jq -e 'all(.loaded[]; .result == "already loaded")' <<<"$output"
	kcm unload
	nothing_pinned
}

@test "load twice: the second says so and changes nothing" {
	kcm load mux
	before=$(bpftool -j map show pinned "$PINS/mux/default/layout" | jq .id)
	run -0 kcm -j load mux
	jq -e '.loaded[0].result == "already loaded"' <<<"$output"
	[[ $(bpftool -j map show pinned "$PINS/mux/default/layout" | jq .id) == "$before" ]]
}

@test "unload: content with nothing, exit 7 for a system that is not there" {
	run -0 kcm unload
	run -7 kcm unload mux
	[[ $output == "kcmtool: mux is not loaded; try: kcmtool status" ]]
}

@test "plain bpftool reads the layout with its field names" {
	kcm load mux
	bpftool -j map dump pinned "$PINS/mux/default/layout" |
		jq -e '.[0].formatted.value | .layout >= 1 and .created_s > 0'
	bpftool map show pinned "$PINS/mux/default/layout" | grep -q 'name kcm_layout'
}

@test "unload while in use is refused with who uses it; --force unloads" {
	kcm load mux
	coproc HOLD { exec "$BUILD/tests/pin_helper" hold "$PINS/mux/default/layout"; }
	holder=$HOLD_PID
	read -r _ <&"${HOLD[0]}"
	run -1 kcm unload
	[[ $output == *"mux is in use (default: pid $holder (pin_helper))"* ]]
	[[ $output == *"--force"* ]]
	kcm -j status | jq -e ".instances[0] | .users == 1 and (.used_by | contains(\"pid $holder \"))"
	run -0 kcm unload --force
	nothing_pinned
	eval "exec ${HOLD[1]}>&-"
	wait "$holder"
}

@test "an older layout is replaced; who uses the older one keeps it" {
	"$BUILD/tests/pin_helper" make 0
	run -0 kcm -j status
	jq -e '.instances[0].state == "older layout"' <<<"$output"
	coproc HOLD { exec "$BUILD/tests/pin_helper" hold "$PINS/mux/default/layout"; }
	holder=$HOLD_PID
	read -r id <&"${HOLD[0]}"
	run -0 kcm -j load mux
	jq -e '.loaded[0].result == "upgraded"' <<<"$output"
	kcm -j status | jq -e '.instances[0] | .state == "ready" and .users == 0'
	bpftool map dump id "$id"
	eval "exec ${HOLD[1]}>&-"
	wait "$holder"
}

@test "a newer layout is left alone" {
	"$BUILD/tests/pin_helper" make 1000000
	run -1 kcm load mux
	[[ $output == *"a newer kcmtool has loaded it"* ]]
	kcm -j status | jq -e '.instances[0].state == "newer layout"'
}

@test "a directory that some other program left in the place is replaced" {
	mkdir -p "$PINS"/mux/default
	run -0 kcm -j load mux
	jq -e '.loaded[0].result == "upgraded"' <<<"$output"
	kcm -j status | jq -e '.instances[0].state == "ready"'
}

@test "four loads at the same time: one loads, the others find it loaded" {
	for i in 1 2 3 4; do
		kcm -j load mux >"$BATS_TEST_TMPDIR/$i" 3>&- &
		pids[i]=$!
	done
	for i in 1 2 3 4; do wait "${pids[i]}"; done
	[[ $(cat "$BATS_TEST_TMPDIR"/[1-4] | jq -r '.loaded[0].result' | sort | uniq -c | xargs) == \
		"3 already loaded 1 loaded" ]]
	kcm -j status | jq -e '.instances | length == 1'
}

SYSCALLS=(bpf mkdir unlinkat rmdir renameat2 flock)

# How often the command makes the system call.
count_calls() { # syscall command...
	local call=$1
	shift
	strace -f -o "$BATS_TEST_TMPDIR/trace" -e trace="$call" "$@" >/dev/null
	grep -cE "(^|[ ])$call\(" "$BATS_TEST_TMPDIR/trace" || true
}

# Which of n calls are tried: every few, from a random one; all of them for `make faults`.
tried_calls() { # n
	local step=1
	[[ ${KCM_FAULTS:-} == all ]] || step=$(($1 / 20 + 1))
	(($1 == 0)) || seq $((RANDOM % step + 1)) "$step" "$1"
}

killed_at() { # syscall n command...
	local call=$1 n=$2 status=0
	shift 2
	strace -f -o /dev/null -e trace="$call" -e inject="$call:signal=SIGKILL:when=$n" "$@" \
		>/dev/null 2>&1 || status=$?
	[[ $status == 137 ]]
}

# Whole or not there: `status` knows no third state.
whole_or_nothing() {
	local state
	state=$(kcm -j status 2>/dev/null | jq -r '.instances[].state')
	[[ $state == ready || -z $state ]]
}

@test "load killed before any of its system calls: whole or nothing, and the next load works" {
	tried=0
	for call in "${SYSCALLS[@]}"; do
		kcm unload >/dev/null
		n=$(count_calls "$call" "$KCMTOOL" load mux)
		for i in $(tried_calls "$n"); do
			kcm unload >/dev/null
			killed_at "$call" "$i" "$KCMTOOL" load mux
			whole_or_nothing
			kcm load mux >/dev/null
			kcm -j status | jq -e '.instances[0].state == "ready"' >/dev/null
			[[ ! -e $PINS/stage+ ]]
			((tried += 1))
		done
	done
	echo "killed $tried times" >&2
	((tried > 10))
}

@test "load whose nth system call fails: nothing is left, it is said why, and the next load works" {
	tried=0
	for call in bpf mkdir renameat2 flock; do
		kcm unload >/dev/null
		n=$(count_calls "$call" "$KCMTOOL" load mux)
		for i in $(tried_calls "$n"); do
			kcm unload >/dev/null
			status=0
			strace -f -o /dev/null -e trace="$call" -e inject="$call:error=ENOMEM:when=$i" \
				"$KCMTOOL" load mux >/dev/null 2>"$BATS_TEST_TMPDIR/err" || status=$?
			if ((status)); then
				# Before main() the dynamic linker speaks for itself.
				echo "failed $call $i: $(<"$BATS_TEST_TMPDIR/err")" >&2
				grep -qE '^kcmtool: |error while loading' "$BATS_TEST_TMPDIR/err"
				nothing_pinned
			else
				kcm -j status | jq -e '.instances[0].state == "ready"' >/dev/null
			fi
			kcm load mux >/dev/null
			((tried += 1))
		done
	done
	((tried > 20))
}

@test "unload killed before any of its system calls: whole or nothing, and the next unload works" {
	tried=0
	for call in "${SYSCALLS[@]}"; do
		kcm load mux >/dev/null
		n=$(count_calls "$call" "$KCMTOOL" unload)
		for i in $(tried_calls "$n"); do
			kcm load mux >/dev/null
			killed_at "$call" "$i" "$KCMTOOL" unload
			whole_or_nothing
			kcm unload >/dev/null
			nothing_pinned
			((tried += 1))
		done
	done
	echo "killed $tried times" >&2
	((tried > 5))
}

@test "upgrade killed before any of its system calls: the old or the new one is there, whole" {
	tried=0
	for call in "${SYSCALLS[@]}"; do
		"$BUILD/tests/pin_helper" make 0
		n=$(count_calls "$call" "$KCMTOOL" load mux)
		for i in $(tried_calls "$n"); do
			kcm unload --force >/dev/null
			"$BUILD/tests/pin_helper" make 0
			killed_at "$call" "$i" "$KCMTOOL" load mux
			kcm -j status | jq -e '.instances[0].state | . == "ready" or . == "older layout"' >/dev/null
			kcm load mux >/dev/null
			kcm -j status | jq -e '.instances[0].state == "ready"' >/dev/null
			((tried += 1))
		done
		kcm unload --force >/dev/null
	done
	((tried > 10))
}

@test "the lock of another process is waited for" {
	kcm load mux
	coproc LOCK { exec "$BUILD/tests/pin_helper" lock; }
	holder=$LOCK_PID
	read -r locked <&"${LOCK[0]}"
	[[ $locked == 0 ]]
	"$KCMTOOL" unload >"$BATS_TEST_TMPDIR/out" 3>&- &
	waiter=$!
	eval "exec ${LOCK[1]}>&-"
	wait "$holder"
	wait "$waiter"
	grep -q unloaded "$BATS_TEST_TMPDIR/out"
}

@test "a lock that is not given up in time is named, whoever waits for it" {
	kcm load mux
	coproc LOCK { exec "$BUILD/tests/pin_helper" lock; }
	holder=$LOCK_PID
	read -r locked <&"${LOCK[0]}"
	[[ $locked == 0 ]]
	# shellcheck disable=SC2154
	for command in "sock limit port 80 rate=1MB/s" "sock frame 80 u32be" "sock load"; do
		# shellcheck disable=SC2086
		run -1 kcm $command
		[[ $output == "kcmtool: cannot "*"(/sys/fs/bpf: another process holds the lock); try: again when"* ]]
	done
	eval "exec ${LOCK[1]}>&-"
	wait "$holder"
}
