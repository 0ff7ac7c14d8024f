#!/usr/bin/env bats
# doctor, capabilities, machines that lack something.
bats_require_minimum_version 1.5.0
load common

setup() {
	# An ordinary user need not be able to read the build folder.
	KCMTOOL=$BATS_TEST_TMPDIR/kcmtool
	cp "$BUILD/kcmtool" "$KCMTOOL"
	chmod 755 "$BATS_TEST_TMPDIR" "$BATS_FILE_TMPDIR" "$BATS_RUN_TMPDIR" "$KCMTOOL"
}

teardown() {
	kcm unload --force >&2
	nothing_pinned
}

# load does what doctor's verdict says it will: both exit codes are the same.
agree() { # command prefix...
	local doctor=0 load=0
	"$@" "$KCMTOOL" doctor >&2 || doctor=$?
	"$@" "$KCMTOOL" load >&2 || load=$?
	[[ $doctor == "$load" ]]
}

@test "doctor as root: every feature tried, none unknown, and load agrees" {
	run -0 kcm -j doctor
	jq -e '.features | length >= 20 and all(.state != "unknown" and .why != "")' <<<"$output"
	jq -e '[.features[] | select(.state == "missing" and .remedy == null)] == []' <<<"$output"
	jq -e '.systems[] | select(.system == "mux") | .verdict == "can be loaded"' <<<"$output"
	agree env
}

@test "doctor leaves nothing loaded or attached" {
	before=$(bpftool -j prog show | jq '[.[] | select(.name // "" | startswith("kcm_p_"))] | length')
	[[ $before == 0 ]]
	kcm doctor
	after=$(bpftool -j prog show | jq '[.[] | select(.name // "" | startswith("kcm_p_"))] | length')
	[[ $after == 0 ]]
	nothing_pinned
}

@test "doctor's trial sees what no feature shows: a load that fails, and leaves nothing" {
	run -3 strace -f -o /dev/null -e trace=renameat2 -e inject=renameat2:error=ENOMEM "$KCMTOOL" -j doctor
	jq -e '.systems[0] | .verdict == "cannot be loaded" and .missing == null and (.why | length > 0)' <<<"$output"
	nothing_pinned
}

@test "without privilege: load exits 4 and names the capability, doctor agrees and says how" {
	run -4 as_user none "$KCMTOOL" load
	[[ $output == "kcmtool: 'kcmtool load' is not permitted (cap_bpf: "*"; try: sudo"* ]]
	run -4 as_user none "$KCMTOOL" -j doctor
	jq -e '.features[] | select(.feature == "cap_bpf") | .state == "missing" and .remedy != null' <<<"$output"
	jq -e '.systems[0].verdict == "privilege is missing"' <<<"$output"
	agree as_user none
}

@test "without privilege: help, version and completion work" {
	run -0 as_user none "$KCMTOOL" version
	run -0 as_user none "$KCMTOOL" help
	run -0 as_user none "$KCMTOOL" completion bash
}

@test "one capability is not enough, and the missing one is named" {
	run -4 as_user cap_bpf "$KCMTOOL" load
	[[ $output == *"(cap_net_admin: "* ]]
	run -4 as_user cap_net_admin "$KCMTOOL" load
	[[ $output == *"(cap_bpf: "* ]]
	run -4 as_user cap_bpf,cap_net_admin "$KCMTOOL" load
	[[ $output == *"(cap_perfmon: "* ]]
	agree as_user cap_bpf
	agree as_user cap_bpf,cap_net_admin
}

@test "an ordinary user with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON loads and unloads" {
	run -0 as_user cap_bpf,cap_net_admin,cap_perfmon "$KCMTOOL" doctor
	run -0 as_user cap_bpf,cap_net_admin,cap_perfmon "$KCMTOOL" load
	run -0 as_user cap_bpf,cap_net_admin,cap_perfmon "$KCMTOOL" -j status
	jq -e '.instances[0].state == "ready"' <<<"$output"
	run -0 as_user cap_bpf,cap_net_admin,cap_perfmon "$KCMTOOL" unload
	nothing_pinned
}

# In a mount namespace without bpffs: without_bpffs COMMAND...
without_bpffs() {
	unshare --mount --propagation private bash -c '
		while [[ $(stat -f -c %T /sys/fs/bpf) == bpf_fs ]]; do umount /sys/fs/bpf || exit 99; done
		"$@"' bash "$@"
}

@test "no bpffs: status says not loaded, load mounts it" {
	run -7 without_bpffs "$KCMTOOL" status
	# shellcheck disable=SC2016
	run -0 without_bpffs bash -c '"$0" load && "$0" status && "$0" unload &&
		[[ $(stat -f -c %T /sys/fs/bpf) == bpf_fs && ! -e /sys/fs/bpf/kcm ]]' "$KCMTOOL"
	[[ $output == *ready* ]]
}

@test "no bpffs, four loads at the same time: mounted once" {
	# shellcheck disable=SC2016
	run -0 without_bpffs bash -c '
		for i in 1 2 3 4; do "$0" load >/dev/null & pids+=($!); done
		for p in "${pids[@]}"; do wait "$p" || exit 1; done
		[[ $(grep -c " /sys/fs/bpf bpf " /proc/mounts) == 1 ]] && "$0" status' "$KCMTOOL"
}

@test "no bpffs and no right to mount: load and doctor name the mount" {
	run -4 without_bpffs capsh --keep=1 --user=nobody --inh=cap_bpf,cap_net_admin,cap_perfmon \
		--addamb=cap_bpf,cap_net_admin,cap_perfmon -- -c '"$0" load' "$KCMTOOL"
	[[ $output == *"mount -t bpf"* ]]
	run -4 without_bpffs capsh --keep=1 --user=nobody --inh=cap_bpf,cap_net_admin,cap_perfmon \
		--addamb=cap_bpf,cap_net_admin,cap_perfmon -- -c '"$0" -j doctor' "$KCMTOOL"
	jq -e '.systems[0].missing == "bpffs"' <<<"$output"
}

@test "no cgroup2: doctor says so, and which systems do without" {
	run -3 unshare --mount --propagation private bash -c '
		while read -r point; do umount -l "$point"; done < <(
			awk "/ - cgroup2 /{ print \$5 }" /proc/self/mountinfo | tac)
		"$0" -j doctor' "$KCMTOOL"
	jq -e '.features[] | select(.feature == "cgroup2") | .state == "missing"' <<<"$output"
	jq -e '.features[] | select(.feature == "sockops") |
		.state == "missing" and (.remedy | startswith("mount"))' <<<"$output"
	jq -e '.systems[] | select(.system == "mux") | .verdict == "can be loaded"' <<<"$output"
	jq -e '.systems[] | select(.system == "sock") | .verdict == "cannot be loaded" and
		(.missing | contains("cgroup2"))' <<<"$output"
}
