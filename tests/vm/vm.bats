#!/usr/bin/env bats
# The machinery of the guests: what it says when something is missing, hangs or dies; and that a run
# is not green by accident.
# shellcheck disable=SC2154 # set by run
bats_require_minimum_version 1.5.0
load ../e2e/common

VM=$BATS_TEST_DIRNAME

setup() { T=$BATS_TEST_TMPDIR; }

# ---- lists ----

@test "tests.txt: every file is there, and what is chosen from it exists" {
	n=0
	while read -r mode system spec; do
		[[ $mode =~ ^(fast|full|refuse)$ && -n $system ]]
		file=$ROOT/tests/${spec%%=*}
		if [[ $file != *.bats ]]; then
			[[ -e $file.c ]]
		elif [[ $spec == *=* ]]; then
			echo "$spec"
			(($(bats --count --filter "${spec#*=}" "$file") > 0))
		else
			[[ -e $file ]]
		fi
		((n += 1))
	done < <(grep -v '^#' "$VM/tests.txt" | grep .)
	((n > 0))
}

@test "tests.txt: every system of the tool has tests in both modes" {
	for system in $(kcm -j doctor | jq -r '.systems[].system'); do
		for mode in fast full; do
			echo "a line '$mode $system ...' in tests/vm/tests.txt"
			grep -qE "^${mode}[[:space:]]+${system}[[:space:]]" "$VM/tests.txt"
		done
	done
}

@test "no file names a mirror" {
	run ! grep -rnE 'https?://' "$VM" --exclude=vm.bats
}

# ---- judging ----

bad_messages() {
	cat <<-'END'
		[    1.0] BUG: kernel NULL pointer dereference, address: 0000000000000000
		[    1.0] BUG: sleeping function called from invalid context at net/core/sock.c:3000
		[    1.0] WARNING: CPU: 1 PID: 99 at net/core/stream.c:208 sk_stream_kill_queues+0x5b/0x60
		[    1.0] WARNING: possible circular locking dependency detected
		[    1.0] WARNING: suspicious RCU usage
		[    1.0] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:
		[    1.0] rcu: INFO: rcu_sched self-detected stall on CPU
		[    1.0] watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [kcmtool:1]
		[    1.0] INFO: task kcmtool:1 blocked for more than 120 seconds.
		[    1.0] Oops: 0000 [#1] PREEMPT SMP NOPTI
		[    1.0] general protection fault, probably for non-canonical address 0xdead: 0000 [#1]
		[    1.0] refcount_t: underflow; use-after-free.
		[    1.0] Kernel panic - not syncing: Fatal exception
	END
}

good_messages() {
	cat <<-'END'
		[    0.0] rcu: Hierarchical RCU implementation.
		[    0.0] rcu: RCU calculated value of scheduler-enlistment delay is 25 jiffies.
		[    0.0] Warning: this line is of no importance
		[    0.0] debug: tracing is on
		[    0.0] Unstable clock detected, switching default tracing clock to "global"
	END
}

@test "every kind of bad kernel message is seen, harmless ones are not" {
	good_messages >"$T/good"
	run -0 "$VM/dmesg" "$T/good"
	[[ -z $output ]]
	n=0
	while IFS= read -r line; do
		{ good_messages; echo "$line"; } >"$T/bad"
		run -1 "$VM/dmesg" "$T/bad"
		[[ $output == "${line#*] }" ]]
		((n += 1))
	done < <(bad_messages)
	((n == 13))
}

result() { jq -r .result "$T/6.1/result.json"; }

@test "green tests with a bad kernel message fail, and the message is shown" {
	mkdir "$T/6.1"
	printf '= mux\nok 1 x\n= mux 1 0 0 5\n' >"$T/6.1/out"
	good_messages >"$T/6.1/dmesg"
	"$VM/judge" "$T/6.1" ran "" 9 tcg
	[[ $(result) == passed ]]
	bad_messages | sed -n 3p >>"$T/6.1/dmesg"
	"$VM/judge" "$T/6.1" ran "" 9 tcg
	[[ $(result) == failed ]]
	run -0 jq -r --arg optional "" -f "$VM/lines.jq" "$T/6.1/result.json"
	[[ $output == *"ok - 6.1 mux: 1 passed"*$'\n'"not ok - 6.1 kernel messages"$'\n'"#   WARNING: CPU: 1 "* ]]
}

@test "no result, no tests, a failure, or tests that did not end: failed" {
	mkdir "$T/6.1"
	for out in '' '= mux\n' '= mux\n= mux 0 0 0 1\n' '= mux\n= mux 4 1 0 9\n' \
		'= mux\n= mux 4 0 0 9\n= core\n'; do
		# shellcheck disable=SC2059 # a format
		printf "$out" >"$T/6.1/out"
		"$VM/judge" "$T/6.1" ran "" 9 tcg
		[[ $(result) == failed ]]
		run -0 jq -r --arg optional "" -f "$VM/lines.jq" "$T/6.1/result.json"
		[[ $output == *"not ok - 6.1"* ]]
	done
	printf '= mux\n= mux 4 0 0 9\n' >"$T/6.1/out"
	for state in slow died noboot; do
		"$VM/judge" "$T/6.1" $state "it is said why" 9 tcg
		[[ $(result) == failed ]]
		run -0 jq -r --arg optional 1 -f "$VM/lines.jq" "$T/6.1/result.json"
		[[ $output == *"not ok - 6.1: it is said why"* ]]
	done
}

@test "README: the table goes between the marks and nowhere else" {
	mkdir "$T/6.1"
	printf '= mux\n= mux 4 0 0 9\n' >"$T/6.1/out"
	echo '6.1.0-1-amd64 #1 SMP Debian 6.1.200-1 (2026-01-01)' >"$T/6.1/kernel"
	"$VM/judge" "$T/6.1" ran "" 9 tcg
	jq -s '{ mode: "full", date: "2026-01-01", host: { cpus: 2 }, seconds: 60, kernels: . }' \
		"$T/6.1/result.json" >"$T/result.json"
	printf '%s\n' before '<!-- vmtest: begin -->' old '<!-- vmtest: end -->' after >"$T/README.md"
	"$VM/readme" "$T/result.json" "$T/README.md"
	cp "$T/README.md" "$T/once"
	"$VM/readme" "$T/result.json" "$T/README.md"
	diff "$T/once" "$T/README.md"
	run -0 cat "$T/README.md"
	[[ $output == before*"| 6.1.0-1-amd64 | 6.1.200-1 | 4 tests | clean |"*after ]]
	run ! grep -q old "$T/README.md"
	run -1 "$VM/readme" "$T/none.json" "$T/README.md"
	[[ $output == "vmtest: no result in "*"; try: make vmtest" ]]
}

# ---- what cannot be had ----

@test "without qemu: said in one line, or a skip" {
	mkdir "$T/bin"
	for dir in /bin /usr/bin /sbin /usr/sbin; do ln -sf "$dir"/* "$T/bin/"; done
	rm -f "$T"/bin/qemu-system-*
	PATH=$T/bin run -1 "$VM/run" fast
	[[ $output == "vmtest: qemu-system-x86_64 is missing; try: apt-get install qemu-system-x86" ]]
	PATH=$T/bin run -0 "$VM/run" --optional fast
	[[ $output == "ok - vm # skip qemu-system-x86_64 is missing; try: apt-get install qemu-system-x86" ]]
}

@test "an unknown kernel: exit 2, and the list" {
	run -2 "$VM/run" fast 2.6
	[[ $output == "vmtest: no kernel '2.6' in tests/vm/kernels.txt" ]]
}

# A machine that reaches no mirror.
no_mirror() {
	export APT_CONFIG=$T/apt.conf KCM_VM_CACHE=$T/cache
	printf 'Acquire::%s "%s";\n' http::Proxy 'http://127.0.0.1:1' https::Proxy 'http://127.0.0.1:1' \
		Retries 0 >"$APT_CONFIG"
}

@test "no mirror: one line says which kernel and from where; kernels of the cache are taken" {
	no_mirror
	run -1 "$VM/kernel" 6.1
	[[ ${#lines[@]} == 1 ]]
	[[ $output == "vmtest: apt cannot fetch kernel 6.1 from bookworm "*"; try: "* ]]
	mkdir -p "$T/cache/6.1.0-9-amd64"
	echo x >"$T/cache/6.1.0-9-amd64/vmlinuz"
	(cd "$T/cache/6.1.0-9-amd64" && sha256sum vmlinuz >sha256)
	echo 6.1.0-9-amd64 >"$T/cache/6.1"
	run -0 "$VM/kernel" 6.1
	[[ $output == "$T/cache/6.1.0-9-amd64" ]]
	touch -d '30 days ago' "$T/cache/6.1"
	run -0 --separate-stderr "$VM/kernel" 6.1
	[[ $output == "$T/cache/6.1.0-9-amd64" ]]
	[[ $stderr == "vmtest: apt does not reach a mirror: kernel 6.1 from the cache" ]]
	echo damaged >"$T/cache/6.1.0-9-amd64/vmlinuz"
	run -1 "$VM/kernel" 6.1
}

@test "no mirror: a skip of make test, a failure of make vmtest" {
	command -v qemu-system-x86_64 || skip "no qemu"
	no_mirror
	mkdir "$T/build"
	cp "$BUILD/kcmtool" "$T/build/"
	BUILD=$T/build run -0 "$VM/run" --optional fast 6.1
	[[ $output == "ok - 6.1 # skip apt cannot fetch kernel 6.1 "* ]]
	BUILD=$T/build run -1 "$VM/run" fast 6.1
	[[ $output == "not ok - 6.1: apt cannot fetch kernel 6.1 "* ]]
}

# ---- guests that hang or die ----

guest() { # seconds seconds-to-boot command
	command -v qemu-system-x86_64 || skip "no qemu"
	cache=${KCM_VM_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/kcmtool/vm}
	[[ -e $cache/6.1 ]] || skip "no kernel in $cache"
	kernel=$cache/$(<"$cache/6.1")
	mkdir "$T/run"
	cd "$ROOT" || return 1
	VM_SECONDS=$1 VM_BOOT_SECONDS=$2 "$VM/boot" "$kernel" "$T/run" "$3"
}

@test "a boot that takes too long is ended, and says where it was" {
	run -126 guest 60 1 true
	[[ $(<"$T/run/why") == "the boot hangs: no command after 1 s; last on the console: "* ]]
}

@test "a guest that dies: said with its last words, which fail the run" {
	run -125 guest 300 300 'echo begun; sleep 1; echo c >/proc/sysrq-trigger; sleep 100'
	[[ $(<"$T/run/why") == "the guest died: "* ]]
	grep -qx begun "$T/run/out"
	run -1 "$VM/dmesg" "$T/run/console"
	[[ $output == *"Kernel panic"* ]]
}

@test "a guest's command has its exit status, and cannot write the host's files; a warning is seen" {
	run -7 guest 300 300 "echo '<4>WARNING: CPU: 0 PID: 1 at a/test' >/dev/kmsg
		echo y >$T/f; cat $T/f; exit 7"
	[[ $(<"$T/run/out") == y && ! -e $T/f ]]
	run -1 "$VM/dmesg" "$T/run/dmesg"
	[[ $output == "WARNING: CPU: 0 PID: 1 at a/test" ]]
}

@test "a command that takes too long is ended" {
	run -124 guest 2 300 'sleep 1000'
	[[ $(<"$T/run/why") == "takes longer than 2 s and was ended" ]]
}
