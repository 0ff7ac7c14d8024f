#!/usr/bin/env bats
# AF_KCM beside the mux, as far as a kernel without it shows; tests/vm/tests.txt has the rest.
bats_require_minimum_version 1.5.0
load common

SIDE=$BUILD/tests/kcm_side

@test "the mux does what the table says of it" {
	run "$SIDE" mux
	echo "$output"
	((status == 0))
	[[ $(grep -c '^ok ' <<<"$output") -ge 36 ]]
}

@test "a row that does not exist, and a kernel without AF_KCM, are failures" {
	run ! "$SIDE" judge no-such-row
	run -2 "$SIDE" af no-such-row
}

@test "README: the table is the one that is judged" {
	sed -n '/^<!-- kcm-side: begin -->$/,/^<!-- kcm-side: end -->$/p' "$ROOT/README.md" |
		grep -v '^<!-- kcm-side' >"$BATS_TEST_TMPDIR/readme"
	"$SIDE" table | diff "$BATS_TEST_TMPDIR/readme" -
}
