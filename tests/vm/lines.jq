# Result of one kernel as lines of a test run.
(.name + (if .version then " (" + .version + ")" else "" end)) as $kernel
| if .state == "missing" then
	(if $optional != "" then "ok - \($kernel) # skip \(.why)" else "not ok - \($kernel): \(.why)" end)
  else
	(.systems[] | (if .result == "passed" then "ok" else "not ok" end)
		+ " - \($kernel) \(.system): \(.passed) passed, \(.failed) failed, \(.skipped) skipped"
		+ (if .seconds == null then ", did not end" else ", \(.seconds) s" end)),
	(if .state != "ran" then "not ok - \($kernel): \(.why)"
	 elif (.systems | length) == 0 then "not ok - \($kernel): no test was run"
	 else empty end),
	(if (.dmesg | length) > 0 then
		"not ok - \($kernel) kernel messages", (.dmesg[] | "#   " + .)
	 elif .state == "ran" then "ok - \($kernel) kernel messages"
	 else empty end)
  end
