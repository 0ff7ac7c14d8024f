#!/usr/bin/env bats
# A kernel that is too old: said in one line with its own exit code, and nothing is left behind.
# shellcheck disable=SC2154 # set by run
bats_require_minimum_version 1.5.0
load ../e2e/common

teardown() { nothing_pinned; }

loaded_programs() { bpftool -j prog show | jq -S '[.[] | .name // ""] | map(select(startswith("kcm_")))'; }

@test "load refuses with exit code 3 and one line that says why" {
	run -3 --separate-stderr kcm load
	[[ -z $output ]]
	[[ ${#stderr_lines[@]} == 1 ]]
	release=$(uname -r | cut -d. -f1,2)
	[[ $stderr == "kcmtool: refusing to load "*"Linux $release is older than 6.1"*"; try: "* ]]
	[[ $(loaded_programs) == "[]" ]]
}

@test "load with -j: the same, and no half of a document" {
	run -3 --separate-stderr kcm -j load
	[[ -z $output ]] || jq -e . <<<"$output"
	[[ $stderr == *"is older than 6.1"* ]]
}

@test "mux create refuses with exit code 3 too" {
	run -3 kcm mux create x frame u32be
	[[ $output == *"is older than 6.1"* ]]
	[[ $(loaded_programs) == "[]" ]]
}

@test "status says that nothing is loaded" {
	run -7 kcm status
}

@test "doctor exits 3 and names the kernel" {
	run -3 kcm -j doctor
	jq -e '.features[] | select(.feature == "kernel_safe") |
		.state == "missing" and (.why | contains("older than 6.1"))' <<<"$output"
	jq -e '.systems[] | select(.system == "mux") | .verdict == "cannot be loaded"' <<<"$output"
	[[ $(loaded_programs) == "[]" ]]
}
