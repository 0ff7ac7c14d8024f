# Table kernel x system of a result, for people: tab-separated.
([.kernels[].systems[].system] | reduce .[] as $s ([]; if index($s) then . else . + [$s] end)) as $systems
| (["KERNEL", "RELEASE", "VERSION", "BOOT"] + ($systems | map(ascii_upcase)) + ["DMESG", "RESULT"]),
  (.kernels[]
	| . as $k
	| [.name, (if .release == "" then "-" else .release end), .version // "-",
		(if .boot_s then "\(.boot_s) s" else "-" end)]
	+ [$systems[] as $s | [$k.systems[] | select(.system == $s)][0]
		| if . == null then "-"
		  elif .seconds == null then .result
		  elif .failed > 0 then "\(.failed) of \(.passed + .failed) failed, \(.seconds) s"
		  else "\(.passed) passed, \(.seconds) s" end]
	+ [(if .state == "missing" then "-" elif (.dmesg | length) > 0 then "\(.dmesg | length) lines" else "clean" end),
		.result])
| @tsv
