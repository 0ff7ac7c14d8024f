# Result of one kernel. $out has a line "= SYSTEM" where a system's tests begin and
# "= SYSTEM PASSED FAILED SKIPPED SECONDS" where they end; $wrong what is bad in the kernel's messages.
def lines: split("\n") | map(select(. != ""));
($out | lines | map(select(startswith("= ")) | split(" "))) as $marks
| ($marks | map(select(length == 2) | .[1])) as $begun
| ($marks | map(select(length == 6)) | map({
	system: .[1], passed: (.[2] | tonumber), failed: (.[3] | tonumber),
	skipped: (.[4] | tonumber), seconds: (.[5] | tonumber)
  } | .result = (if .failed > 0 or .passed == 0 then "failed" else "passed" end))) as $ended
| {
	name: $name,
	state: $state,
	why: (if $why == "" then null else $why end),
	release: ($kernel | split(" ")[0] // "" | rtrimstr("\n")),
	version: ([$kernel | capture("Debian (?<v>[^ ]+)")][0].v),
	processor: $processor,
	boot_s: ([$up | lines[] | tonumber][0]),
	seconds: $seconds,
	systems: ($ended + [($begun - ($ended | map(.system)))[] |
		{ system: ., passed: 0, failed: 1, skipped: 0, seconds: null, result: "did not end" }]),
	dmesg: ($wrong | lines)
  }
| .result = (
	if .state == "missing" then "missing"
	elif .state != "ran" or (.systems | length) == 0 or any(.systems[]; .result != "passed")
		or (.dmesg | length) > 0 then "failed"
	else "passed" end)
