#!/usr/bin/env bats
# Limits of sockets. Rates are compared with what the limit allows and with the same transfer
# without a limit in the same run: a slow machine makes transfers slower, never faster.
# shellcheck disable=SC2016,SC2154 # variables of jq; stderr of run --separate-stderr
bats_require_minimum_version 1.5.0
load common

CGROUP=$(awk '/ - cgroup2 / { print $5; exit }' /proc/self/mountinfo)/kcm_limit_${KCM_TEST_RUN:-0}_$$
MB=1000000
FREE=$((640 * 1024)) # TCP lets ten segments of loopback go before it paces
NO_PACE=18446744073709551615

setup() {
	mkdir "$CGROUP"
	kcm sock load --cgroup "$CGROUP" >/dev/null
	coproc PEER { exec bash -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$CGROUP" \
		python3 "$ROOT/tests/e2e/sock_limit_peer.py" 3>&-; }
	peer=$PEER_PID
}

teardown() {
	kill "$peer" 2>/dev/null || true
	wait "$peer" 2>/dev/null || true
	[[ ! -e $PINS/sock ]] || kcm sock unload >/dev/null
	for _ in {1..600}; do
		rmdir "$CGROUP" 2>/dev/null && break
		sleep 0.1
	done
	nothing_pinned
}

ask() { # words...: the answer, JSON, in $A
	echo "$*" >&"${PEER[1]}"
	read -r -t 120 -u "${PEER[0]}" A
}

open_conn() { # [4|6]: its number in $N, port in $PORT
	ask open "$@"
	N=$(jq .n <<<"$A")
	PORT=$(jq .port <<<"$A")
}

answer() { jq -e --argjson free "$FREE" "$@" <<<"$A" >/dev/null || { echo "$A" >&2 && return 1; }; }

# send_within NUMBER BYTES RATE: intact, and at that rate; a half of it at least is got even here
send_within() {
	ask send "$1" "$2"
	answer --argjson bytes "$2" --argjson rate "$3" \
		'.intact and .seconds > ($bytes - $free) / $rate * 0.95 and .seconds < $bytes / $rate * 3'
}

# send_free NUMBER BYTES RATE: intact, and faster than that rate by far
send_free() {
	ask send "$1" "$2"
	answer --argjson rate "$3" '.intact and .rate > 2 * $rate'
}

rule() { kcm -j sock limit list | jq -c ".rules[] | select(.rule == $1)"; }
limits() { kcm -j sock limit "$@"; }

@test "rate: live and new connections, changed, deleted; contents are intact" {
	for family in 4 6; do
		open_conn "$family"
		live=$N
		send_free "$live" $((20 * MB)) $((10 * MB))
		limits rport "$PORT" rate=80Mbit | jq -e '.limited_now == 1 and .rate_bytes == 10000000'
		send_within "$live" $((10 * MB)) $((10 * MB))
		open_conn "$family"
		send_within "$N" $((10 * MB)) $((10 * MB))
		# The same filter again: another rate for the same rule.
		limits rport "$PORT" rate=4MB/s | jq -e '.limited_now == 2'
		[[ $(kcm -j sock limit list | jq '.rules | length') == 1 ]]
		send_within "$live" $((6 * MB)) $((4 * MB))
		kcm sock limit del rport "$PORT" >/dev/null
		send_free "$live" $((20 * MB)) $((10 * MB))
		send_free "$N" $((20 * MB)) $((10 * MB))
		open_conn "$family"
		send_free "$N" $((20 * MB)) $((10 * MB))
	done
	kcm -j sock limit list | jq -e '.rules == [] and .paced >= 8 and .refused == 0 and .dropped == 0'
}

@test "what the application had set itself comes back, and a lower rate of its own stays" {
	open_conn
	ask pace "$N" 5000000
	limits rport "$PORT" rate=80Mbit | jq -e '.limited_now == 1'
	ask pace "$N"
	answer '.pace == 5000000'
	limits rport "$PORT" rate=8Mbit >/dev/null
	ask pace "$N"
	answer '.pace == 1000000'
	kcm sock limit del all >/dev/null
	ask pace "$N"
	answer '.pace == 5000000'
}

@test "a rate that the application sets while it is limited stays when the limit goes" {
	open_conn
	limits rport "$PORT" rate=80Mbit | jq -e '.limited_now == 1'
	ask pace "$N" 5000000
	kcm sock limit del all >/dev/null
	ask pace "$N"
	answer ".pace == 5000000"
	limits rport "$PORT" rate=80Mbit | jq -e '.limited_now == 1'
	ask pace "$N" 6000000
	kcm sock unload
	ask pace "$N"
	answer ".pace == 6000000"
}

@test "unload gives back every connection unlimited, load again begins without rules" {
	open_conn
	limits rport "$PORT" rate=8Mbit >/dev/null
	open_conn
	ask pace "$N"
	answer '.pace == 1000000'
	kcm sock unload >/dev/null
	for n in 0 "$N"; do
		ask pace "$n"
		[[ $A == *"$NO_PACE"* ]]
		send_free "$n" $((20 * MB)) $((10 * MB))
	done
	kcm sock load --cgroup "$CGROUP" >/dev/null
	kcm -j sock limit list | jq -e '.rules == []'
}

@test "load over the running version keeps limits" {
	open_conn
	limits rport "$PORT" rate=80Mbit >/dev/null
	kcm sock load >/dev/null
	send_within "$N" $((10 * MB)) $((10 * MB))
	open_conn
	send_within "$N" $((10 * MB)) $((10 * MB))
	kcm sock limit del 1 >/dev/null
	send_free 0 $((20 * MB)) $((10 * MB))
}

@test "two rules: the older one counts, and when it goes the other one" {
	open_conn
	limits rport "$PORT" rate=80Mbit | jq -e '.rule == 1 and .limited_now == 1'
	limits proto tcp laddr 127.0.0.0/8 peer "127.0.0.1:$PORT" rate=8Mbit |
		jq -e '.rule == 2 and .limited_now == 0'
	ask pace "$N"
	answer '.pace == 10000000'
	[[ $(kcm -j sock show rport "$PORT" | jq -c '.sockets[0].limit | [.rule, .rate_bytes]') == '[1,10000000]' ]]
	kcm sock limit del 1 >/dev/null
	ask pace "$N"
	answer '.pace == 1000000'
	[[ $(rule 2 | jq -c '[.now, .filter]') == '[1,"rport '"$PORT"' laddr 127.0.0.0/8 peer 127.0.0.1 proto tcp"]' ]]
	kcm sock limit del 2 >/dev/null
	ask pace "$N"
	[[ $A == *"$NO_PACE"* ]]
}

@test "a limit by label: begins and ends with the label, whoever sets it" {
	run -0 --separate-stderr kcm -j sock limit label tenant=slow rate=80Mbit
	[[ ${#stderr_lines[@]} -eq 1 && $stderr == *"no connection is like that now"* ]]
	open_conn
	cookie=$(jq .client <<<"$A")
	send_free "$N" $((20 * MB)) $((10 * MB))
	ask label "$N" tenant=slow
	send_within "$N" $((10 * MB)) $((10 * MB))
	ask label "$N" tenant=fast
	send_free "$N" $((20 * MB)) $((10 * MB))
	kcm sock label "$cookie" tenant=slow >/dev/null
	send_within "$N" $((10 * MB)) $((10 * MB))
	kcm sock label "$cookie" tenant= >/dev/null
	send_free "$N" $((20 * MB)) $((10 * MB))
}

@test "by cookie, pid, cgroup, role, either port, label without a value; and not others" {
	open_conn
	other=$N
	open_conn
	cookie=$(jq .client <<<"$A")
	ask label "$N" k=v
	pid=$(kcm -j sock show "$cookie" | jq '.sockets[0].pid')
	for filter in "$cookie" "rport $PORT label k" "port $PORT label k=v" "label k role client" \
		"pid $pid label k" "cgroup ${CGROUP##*/} label k" "uid 0 label k" "proto tcp label k"; do
		# shellcheck disable=SC2086
		limits $filter rate=8Mbit | jq -e '.limited_now == 1'
		ask pace "$N"
		answer '.pace == 1000000'
		ask pace "$other"
		[[ $A == *"$NO_PACE"* ]]
		# shellcheck disable=SC2086
		kcm sock limit del ${filter/#$cookie/all} >/dev/null
	done
	kcm -j sock limit list | jq -e '.rules == []'
}

@test "another network namespace: live connections there are limited, and set free" {
	kill "$peer"
	wait "$peer" || true
	coproc PEER { exec bash -c 'echo $$ >"$0/cgroup.procs" && exec unshare -n bash -c \
		"ip link set lo up && exec python3 \"\$0\"" "$1"' "$CGROUP" \
		"$ROOT/tests/e2e/sock_limit_peer.py" 3>&-; }
	peer=$PEER_PID
	open_conn
	limits rport "$PORT" rate=8Mbit | jq -e '.limited_now == 1'
	ask pace "$N"
	answer '.pace == 1000000'
	kcm sock unload >/dev/null
	ask pace "$N"
	[[ $A == *"$NO_PACE"* ]]
}

@test "msgs: framed connections keep the rate whatever the size; others are refused, and it is said" {
	open_conn
	run -0 --separate-stderr kcm -j sock limit rport "$PORT" msgs=1000/s
	jq -e '.limited_now == 0 and .refused_now == 1' <<<"$output"
	[[ ${#stderr_lines[@]} -eq 1 && $stderr == *"1 connections are not framed"*"sock frame"* ]]
	kcm sock frame "$PORT" u32be >/dev/null
	for sizes in 1000 8192 2000,20000; do
		open_conn
		ask some "$N" 6 "$sizes"
		answer '.per_s < 1150 and .per_s > 500'
	done
	open_conn
	kcm sock limit del all >/dev/null
	ask some "$N" 2 8192
	answer '.per_s > 1150' # more than any that has the limit
	# A live one, which has sent already.
	open_conn
	ask msgs "$N" 2000 8192
	answer .intact
	limits rport "$PORT" msgs=1000/s >/dev/null
	ask msgs "$N" 3000 8192
	answer '.intact and .seconds > 2.4'
}

@test "drop: TCP sends again and loses nothing, and what was dropped is counted" {
	open_conn 6
	limits rport "$PORT" rate=80Mbit drop | jq -e '.limited_now == 1 and .drop'
	ask send "$N" $((20 * MB))
	# What is saved up at the beginning, 0.25 s, is free.
	answer --argjson mb "$MB" '.intact and .seconds > 1.6 and .seconds < 12'
	kcm -j sock limit list | jq -e '.rules[0].hits > 0 and .rules[0].hits == .dropped and .paced == 0'
	(($(kcm -j sock show rport "$PORT" | jq '.sockets[0].limit.hits') > 0))
	ask pace "$N"
	[[ $A == *"$NO_PACE"* ]]
	kcm sock limit del all >/dev/null
	send_free "$N" $((20 * MB)) $((10 * MB))
}

@test "UDP: refused without drop; with it, datagrams above the limit are lost, none below it" {
	ask udp
	N=$(jq .n <<<"$A")
	PORT=$(jq .port <<<"$A")
	cookie=$(jq .client <<<"$A")
	for filter in "proto udp" "$cookie"; do
		# shellcheck disable=SC2086
		run -2 kcm sock limit $filter rate=1Mbit
		[[ ${#lines[@]} -eq 1 && $output == *"paces TCP only"*drop* ]]
	done
	ask datagrams "$N" 1000 1000
	answer '.got == 1000'
	limits rport "$PORT" msgs=100/s drop | jq -e '.limited_now == 1'
	ask datagrams "$N" 20 1000
	answer '.got == 20'
	ask datagrams "$N" 2000 1000
	# send() does not fail, and takes no time: a second gives 100.
	answer '.sent == 2000 and .got > 0 and .got < 30 + 110 * (.seconds + 2)'
	got=$(jq .got <<<"$A")
	kcm -j sock limit list | jq -e --argjson lost $((2000 - got)) '.rules[0].hits == $lost'
	kcm sock limit del all >/dev/null
	ask datagrams "$N" 1000 1000
	answer '.got == 1000'
	# One that is connected later: its first datagram is not lost.
	kcm sock limit proto udp rate=1Mbit drop >/dev/null 2>&1
	ask udp
	ask datagrams "$(jq .n <<<"$A")" 5 1000
	answer '.got == 5'
}

@test "32 rules, and no more; numbers are not used twice" {
	for i in {1..32}; do
		limits lport "$i" rate=1Mbit 2>/dev/null | jq -e ".rule == $i"
	done
	run -1 kcm sock limit lport 33 rate=1Mbit
	[[ ${#lines[@]} -eq 1 && $output == *"all 32 rules are used"*"limit del N"* ]]
	kcm sock limit lport 32 rate=2Mbit >/dev/null 2>&1
	kcm sock limit del 7 >/dev/null
	limits lport 33 rate=1Mbit 2>/dev/null | jq -e '.rule == 33'
	[[ $(kcm -j sock limit list | jq -c '[.rules[].rule] | sort == [range(1; 34) | select(. != 7)]') == true ]]
	kcm -j sock limit del all | jq -e '.deleted == 32'
}

@test "bad input: one line each, and what to do" {
	expect() { # status text words...
		local want=$1 text=$2
		shift 2
		run kcm sock limit "$@"
		((status == want)) && [[ ${#lines[@]} -eq 1 && $output == "kcmtool: "*"$text"* ]]
	}
	expect 2 "no condition" rate=1Mbit
	expect 2 "neither rate= nor msgs=" port 80
	expect 2 "not both" port 80 rate=1Mbit msgs=5
	expect 2 "given twice" port 80 rate=1Mbit rate=2Mbit
	for bad in 0 1bit 40Gbit -1 fast 1e 10Mb/; do
		expect 2 "no rate from" port 80 "rate=$bad"
	done
	for bad in 0 -1 x 5/m 1000000000 99999999999999999999; do
		expect 2 "no number of messages" port 80 "msgs=$bad"
	done
	expect 2 "unknown filter" prot 80 rate=1Mbit
	expect 2 "only what is equal" "idle > 3s" rate=1Mbit
	expect 2 "it changes" state established rate=1Mbit
	expect 2 "one value" port 80,81 rate=1Mbit
	expect 2 "only what is equal" not port 80 rate=1Mbit
	expect 2 "given twice" port 80 port 81 rate=1Mbit
	expect 2 "wildcards" label "tenant=g*" rate=1Mbit
	expect 2 "listeners send nothing" role listener rate=1Mbit
	expect 2 "one family" peer ::1 laddr 127.0.0.1 rate=1Mbit
	expect 1 "no rule is like that" del 4
	expect 1 "no rule is like that" del port 80
	expect 2 "no rule is given" del
	expect 2 "list takes nothing more" list 4
	kcm sock unload >/dev/null
	expect 7 "not loaded" list
	expect 7 "not loaded" port 80 rate=1Mbit
}
