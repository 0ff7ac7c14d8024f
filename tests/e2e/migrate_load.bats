#!/usr/bin/env bats
# The load that migrate's tests trust: what a server does wrong is counted as what it is.
# shellcheck disable=SC2154
bats_require_minimum_version 1.5.0
load common

LOAD=$BUILD/tests/migrate_load

setup() { head -c 6000 /dev/urandom | base64 -w 0 >"$BATS_TEST_TMPDIR/file"; }

# A server that does each wrong thing in turn: its port is in $port.
bad_begin() { # echo|http
	coproc BAD { exec python3 "$ROOT/tests/e2e/migrate_bad.py" "$1" "$BATS_TEST_TMPDIR/file" 3>&-; }
	read -r port <&"${BAD[0]}"
}

bad_end() {
	local pid=$BAD_PID in=${BAD[1]}
	exec {in}>&-
	wait "$pid"
}

each_once() { # JSON
	echo "$1"
	jq -e '.total == 50 and .ok == 5 and .lost == 45 and .killed == 0 and .raced == 0 and
		.ends == {refused: 0, rst_before: 5, rst_after: 10, timeout: 5, eof_empty: 5,
			short: 5, wrong: 15, other: 0, local: 0} and
		(.generations | keys == ["g1"] and ([.g1[]] | add == 5))' <<<"$1"
}

@test "each way to fail is counted apart, the protocol of our own" {
	bad_begin echo
	each_once "$("$LOAD" 127.0.0.1 "$port" --count 50 --conc 10 --log "$BATS_TEST_TMPDIR/log")"
	[[ $(wc -l <"$BATS_TEST_TMPDIR/log") == 45 ]]
	[[ $(grep -c ' timeout 127\.9\.' "$BATS_TEST_TMPDIR/log") == 5 ]]
	bad_end
}

@test "each way to fail is counted apart, HTTP" {
	bad_begin http
	each_once "$("$LOAD" 127.0.0.1 "$port" --count 50 --conc 10 --http "$BATS_TEST_TMPDIR/file")"
	bad_end
}

@test "another file than was asked for is wrong, whatever its length" {
	bad_begin http
	tr ABCDEFGH HABCDEFG <"$BATS_TEST_TMPDIR/file" >"$BATS_TEST_TMPDIR/other"
	run -0 --separate-stderr "$LOAD" 127.0.0.1 "$port" --count 1 --http "$BATS_TEST_TMPDIR/other"
	jq -e '.ok == 0 and .ends.wrong == 1' <<<"$output"
	bad_end
}

@test "nobody listens: refused, all of them" {
	bad_begin echo
	bad_end
	run -0 "$LOAD" 127.0.0.1 "$port" --count 100
	jq -e '.total == 100 and .lost == 100 and .ends.refused == 100' <<<"$output"
}

@test "a connection on the list of those that a killed process had accepted is counted apart" {
	bad_begin echo
	# The second connection, of whatever port, is the one that gets no byte.
	seq -f "127.9.0.2 %g" 1024 65535 >"$BATS_TEST_TMPDIR/list"
	run -0 "$LOAD" 127.0.0.1 "$port" --count 10 --conc 1 --killed "$BATS_TEST_TMPDIR/list"
	jq -e '.ok == 1 and .killed == 1 and .killed_ends.eof_empty == 1 and .lost == 8 and
		.ends.eof_empty == 0 and .raced == 0' <<<"$output"
	bad_end
}

@test "and so is one on the list of those that the kernel has lost" {
	bad_begin echo
	seq -f "127.9.0.2 %g" 1024 65535 >"$BATS_TEST_TMPDIR/list"
	run -0 "$LOAD" 127.0.0.1 "$port" --count 10 --conc 1 --raced "$BATS_TEST_TMPDIR/list"
	jq -e '.ok == 1 and .raced == 1 and .raced_ends.eof_empty == 1 and .lost == 8 and
		.ends.eof_empty == 0 and .killed == 0' <<<"$output"
	bad_end
}

@test "progress can be waited for, and SIGTERM ends the load when all is answered" {
	for family in 4 6; do
		address=127.0.0.1
		[[ $family == 4 ]] || address=::1
		ip netns add "kcm-load-$$"
		ip -n "kcm-load-$$" link set lo up
		in=(nsenter --net="/run/netns/kcm-load-$$")
		"${in[@]}" "$BUILD/tests/migrate_server" --gen one --workers 2 --family "$family" 8000 \
			>"$BATS_TEST_TMPDIR/out" 3>&- &
		server=$!
		until grep -q ready "$BATS_TEST_TMPDIR/out"; do sleep 0.01; done
		"${in[@]}" "$LOAD" "$address" 8000 --threads 2 --progress "$BATS_TEST_TMPDIR/progress" \
			>"$BATS_TEST_TMPDIR/json" 3>&- &
		load=$!
		until [[ -s $BATS_TEST_TMPDIR/progress ]]; do sleep 0.01; done
		n=0
		while ((n < 2000)); do
			read -r n good gens <"$BATS_TEST_TMPDIR/progress"
			sleep 0.01
		done
		kill "$load"
		wait "$load"
		read -r n good gens <"$BATS_TEST_TMPDIR/progress"
		jq -e --argjson n "$n" '.total == $n and .ok == $n and .lost == 0 and
			([.generations.one[]] | length == 2 and add == $n)' "$BATS_TEST_TMPDIR/json"
		((good == n))
		[[ $gens == one ]]
		kill "$server"
		wait "$server"
		ip netns del "kcm-load-$$"
		rm "$BATS_TEST_TMPDIR/progress"
	done
}

@test "wrong usage is refused" {
	run -2 "$LOAD"
	[[ ${lines[0]} == "usage: migrate_load "* ]]
	run -2 "$LOAD" nowhere 80
	run -2 "$LOAD" 127.0.0.1 80 --count 0
	run -2 "$LOAD" 127.0.0.1 80 --http /nonexistent
	run -2 "$LOAD" 127.0.0.1 80 --source ::1
}
