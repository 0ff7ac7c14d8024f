#!/usr/bin/env bats
# No message lost, torn, doubled, misrouted or, where order is promised, out of order.
bats_require_minimum_version 1.5.0
load common

# Run a program that checks every byte, and note how many messages it says it has checked.
checked() { # program arguments...
	local program=$1
	shift
	run "$BUILD/tests/$program" "$@"
	echo "$program $*: $output"
	((status == 0))
	grep -oE 'served [0-9]+' <<<"$output" | cut -d ' ' -f 2 >>"$BATS_FILE_TMPDIR/served"
}

torture() { checked mux_torture "$@"; }

@test "small pipelined messages, processes" {
	torture --conns 8 --workers 2 --msgs 600000 --max 64 --reply 16 --depth 1024 --batch 8192
}

@test "small pipelined messages, threads" {
	torture --threads --conns 4 --workers 3 --msgs 700000 --max 100 --reply 16 --depth 1024 \
		--batch 16384 --policy conn --seed 1
}

@test "small pipelined messages, 64 connections" {
	torture --conns 64 --workers 4 --msgs 50000 --max 64 --reply 16 --depth 512 --batch 4096 \
		--policy robin --seed 2
}

@test "one byte a message, in segments of 1 to 300 bytes" {
	checked mux_tiny fixed 8 50000 300
}

@test "one byte a message, in segments of 1 and 2 bytes" {
	checked mux_tiny fixed 8 5000 2
}

@test "lines, byte by byte" {
	checked mux_tiny line 8 300 1
}

@test "lines, in segments up to 3000 bytes" {
	checked mux_tiny line 8 50000 3000
}

@test "varint, 64 connections, segments up to 20000 bytes" {
	checked mux_tiny varint 64 20000 20000
}

@test "messages up to 4 MiB, 4 connections, 4 workers" {
	torture --conns 4 --workers 4 --msgs 100 --max 4194304 --seed 3
}

@test "messages up to 4 MiB, threads, IPv6, in order" {
	torture --threads --v6 --conns 6 --workers 3 --msgs 60 --max 4194304 --policy conn --seed 4
}

@test "messages up to 4 MiB cut into segments of 1 to 3000 bytes" {
	torture --conns 3 --workers 2 --msgs 12 --max 4194304 --seg 3000 --seed 5
}

@test "messages around the size of a chunk" {
	for size in 2048 16384 69632; do
		torture --conns 6 --workers 3 --msgs 300 --min $((size - 3)) --max $((size + 3)) \
			--seed "$size"
		torture --conns 6 --workers 3 --msgs 100 --min $((size - 3)) --max $((size + 3)) \
			--seg 700 --policy conn --seed "$size"
	done
}

@test "segments of one byte" {
	torture --conns 8 --workers 2 --msgs 200 --max 200 --seg 1 --seed 6
}

@test "segments of 1 to 7 bytes, in order" {
	torture --conns 8 --workers 4 --msgs 400 --max 600 --seg 7 --policy conn --seed 7
}

@test "one connection, one worker" {
	torture --conns 1 --workers 1 --msgs 50000 --max 20000 --seed 8
}

@test "one connection, 16 workers" {
	torture --conns 1 --workers 16 --msgs 20000 --max 8192 --seed 9
}

@test "1000 connections, 16 workers" {
	torture --conns 1000 --workers 16 --msgs 50 --max 20000 --depth 8 --seed 10
}

@test "1000 connections, 16 threads, IPv6, in order" {
	torture --threads --v6 --conns 1000 --workers 16 --msgs 50 --max 4000 --policy conn --seed 11
}

@test "dispatch policies: robin, conn, key" {
	for policy in least robin conn key; do
		torture --conns 20 --workers 5 --msgs 3000 --policy $policy --seed 12
	done
}

@test "dispatch policies with threads and little memory" {
	for policy in least robin conn key; do
		torture --threads --conns 20 --workers 3 --msgs 1000 --max 60000 --arena 6291456 \
			--policy $policy --seed 13
	done
}

@test "half-close: all answers come after the client's FIN" {
	torture --half-close --conns 50 --workers 4 --msgs 400 --seed 14
	torture --half-close --conns 4 --workers 2 --msgs 20 --max 4194304 --policy conn --seed 15
}

@test "data from before the attach, some of it read by the server" {
	torture --early --conns 60 --workers 4 --msgs 300 --max 100000 --seed 16
	torture --early --v6 --conns 60 --workers 4 --msgs 300 --policy conn --seed 17
}

@test "connections come and go" {
	torture --churn --conns 100 --workers 4 --msgs 100 --seed 18
	torture --churn --half-close --early --conns 50 --workers 4 --msgs 100 --policy key --seed 19
}

@test "workers come and go: nothing is lost, order is kept" {
	for policy in least robin conn key; do
		torture --leave 100 --conns 20 --workers 4 --msgs 400 --policy $policy --seed 20
	done
	torture --leave 200 --threads --conns 20 --workers 4 --msgs 1000 --policy key --seed 21
}

@test "connections and workers come and go" {
	torture --leave 100 --churn --conns 30 --workers 6 --msgs 100 --seed 22
}

@test "workers pause, then go on" {
	torture --pause 1500 --conns 16 --workers 3 --msgs 20000 --seed 23
	torture --pause 1500 --conns 16 --workers 3 --msgs 200 --max 1000000 --policy conn --seed 24
}

@test "mode strparser" {
	torture --strparser --conns 8 --workers 3 --msgs 5000 --max 4000 --depth 16 --seed 25
	torture --strparser --threads --v6 --half-close --conns 20 --workers 2 --msgs 1000 --depth 16 \
		--policy conn --seg 900 --seed 26
	torture --strparser --early --churn --conns 20 --workers 2 --msgs 100 --max 2000 --depth 8 \
		--seed 27
}

@test "10 000 000 messages were checked" {
	total=$(awk '{ n += $1 } END { printf "%d", n }' "$BATS_FILE_TMPDIR/served")
	echo "# $total messages checked" >&3
	((total >= 10000000))
}
