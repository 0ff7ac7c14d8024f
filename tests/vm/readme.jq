# Table kernel x system of a result, for README.md.
([.kernels[].systems[].system] | reduce .[] as $s ([]; if index($s) then . else . + [$s] end)) as $systems
| "| kernel | Debian's version | \($systems | join(" | ")) | kernel messages |",
  "|---|---|" + ($systems | map("---|") | add) + "---|",
  (.kernels[]
	| . as $k
	| "| \(.release) | \(.version) | "
	+ ([$systems[] as $s | [$k.systems[] | select(.system == $s)][0]
		| if . == null then "not tested"
		  elif .seconds == null then "**did not end**"
		  elif .failed > 0 then "**\(.failed) of \(.passed + .failed) tests fail**"
		  else "\(.passed) tests" + (if .skipped > 0 then ", \(.skipped) skipped" else "" end) end]
		| join(" | "))
	+ " | \(if (.dmesg | length) > 0 then "**\(.dmesg | length) bad lines**" else "clean" end) |"),
  "",
  "`make vmtest`, \(.date)" + (if .mode == "fast" then " (short form)" else "" end)
	+ ": \(.kernels | map(.systems[].passed) | add // 0) tests in \((.seconds + 59) / 60 | floor) minutes, "
	+ "on \(.host.cpus) processors\(if (.kernels | any(.processor == "tcg")) then ", emulated" else "" end)."
