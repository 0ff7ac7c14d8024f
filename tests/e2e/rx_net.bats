#!/usr/bin/env bats
# rx over real links: all of every message, whatever the MTU; what tune does; what is left of a reader
# that is killed.
# shellcheck disable=SC2030,SC2031 # each test has its own RX, PIDS
bats_require_minimum_version 1.5.0
load common

PEER=$BUILD/tests/rx_peer

setup() {
	A=rxa$$-$RANDOM B=rxb$$-$RANDOM
	PIDS=()
	ip netns add "$A"
	ip netns add "$B"
	ip -n "$A" link add v0 type veth peer name v1 netns "$B"
	ip -n "$A" addr add 10.9.0.1/24 dev v0
	ip -n "$B" addr add 10.9.0.2/24 dev v1
	ip -n "$A" addr add fd09::1/64 dev v0 nodad
	ip -n "$B" addr add fd09::2/64 dev v1 nodad
	for n in "$A" "$B"; do
		ip -n "$n" link set lo up
		ip netns exec "$n" sysctl -qw net.ipv4.tcp_congestion_control=reno
	done
	ip -n "$A" link set v0 up
	ip -n "$B" link set v1 up
}

teardown() {
	local pid
	for pid in "${PIDS[@]}"; do
		kill -KILL "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
	ip netns del "$A"
	ip netns del "$B"
	kcm unload --force >&2 || true
	nothing_pinned
}

eventually() { # command...
	for _ in {1..600}; do
		if "$@" >/dev/null 2>&1; then return 0; fi
		sleep 0.05
	done
	echo "never true: $*" >&2
	"$@"
}

mtu() {
	ip -n "$A" link set v0 mtu "$1"
	ip -n "$B" link set v1 mtu "$1"
}

# receiver ADDR MODE MESSAGES [hold]: in $A; its pid in $RX, its port in $PORT, its words in $OUT
receiver() {
	OUT=$BATS_TEST_TMPDIR/recv.$RANDOM
	ip netns exec "$A" "$PEER" recv "$1" 0 "${@:2}" >"$OUT" 2>&1 3>&- &
	RX=$!
	PIDS+=("$RX")
	eventually grep -q listening "$OUT"
	PORT=$(sed -n 's/listening on //p' "$OUT")
}

sender() { ip netns exec "${NS:-$B}" "$PEER" send "$@"; }

stat_of() { sed -n '/^{/p' "$OUT" | jq "$1"; }

received() { wait "$RX" || { cat "$OUT" >&2 && false; }; }

@test "every byte, over all MTUs, IPv4 and IPv6, all modes and senders" {
	seed=$RANDOM
	echo "seed $seed"
	for size in 1500 4168 9000 65535; do
		mtu "$size"
		for addr in 10.9.0.1 fd09::1; do
			for mode in auto map copy; do
				# Half of them with each: every sender meets every MTU, address and mode.
				hows=(plain cut pages ragged)
				for how in "${hows[seed++ % 4]}" "${hows[(seed + 1) % 4]}"; do
					receiver "$addr" "$mode" 25
					sender "$addr" "$PORT" "$how" "$seed" 25 0 1500000
					received
					[[ $(stat_of .messages) == 25 ]]
				done
			done
		done
	done
}

@test "messages up to 64 MiB" {
	mtu 65535
	for how in pages cut; do
		receiver 10.9.0.1 map 4
		sender 10.9.0.1 "$PORT" "$how" 77 4 30000000 67108864
		received
		[[ $(stat_of .messages) == 4 ]]
	done
}

@test "segments of one page: all but the edges is mapped" {
	mtu 4148
	receiver 10.9.0.1 map 60
	sender 10.9.0.1 "$PORT" pages 5 60 1000000 1000000
	received
	stat_of . >&2
	(($(stat_of '.mapped * 100 / .bytes | floor') >= 90))
}

@test "tune: unmodified ends get whole pages, before and after they listen" {
	# The kernel's own segments on this link are not of whole pages.
	mtu 9000
	receiver 10.9.0.1 map 40
	sender 10.9.0.1 "$PORT" pages 5 40 1000000 1000000
	received
	plain=$(stat_of '.calls')
	stat_of . >&2
	# Before it is accepted, and it listens already.
	receiver 10.9.0.1 map 40
	kcm -j rx tune --port "$PORT" | tee "$BATS_TEST_TMPDIR/tune" >&2
	[[ $(jq .listeners "$BATS_TEST_TMPDIR/tune") == 1 ]]
	sender 10.9.0.1 "$PORT" pages 5 40 1000000 1000000
	received
	stat_of . >&2
	(($(stat_of '.mapped * 100 / .bytes | floor') >= 90))
	(($(stat_of .calls) * 3 < plain))
	[[ $(kcm -j rx show | jq -c '.tuned[0] | [.port, .listeners, .connections]') == "[$PORT,1,1]" ]]
	# The next server of the port.
	ip netns exec "$A" "$PEER" recv 10.9.0.1 "$PORT" map 40 >"$OUT" 2>&1 3>&- &
	RX=$!
	PIDS+=("$RX")
	eventually grep -q listening "$OUT"
	sender 10.9.0.1 "$PORT" pages 5 40 1000000 1000000
	received
	(($(stat_of '.mapped * 100 / .bytes | floor') >= 90))
	[[ $(kcm -j rx show | jq -c '.tuned[0] | [.listeners, .connections]') == "[2,2]" ]]
	kcm rx untune "port$PORT"
	nothing_pinned
}

@test "untune takes the segment size back from listeners, and only what it has set" {
	mtu 9000
	receiver 10.9.0.1 map 40
	kcm rx tune --port "$PORT" >/dev/null
	kcm rx untune "port$PORT" >/dev/null
	sender 10.9.0.1 "$PORT" pages 5 40 1000000 1000000
	received
	# As without: far more calls than messages.
	(($(stat_of .calls) > 40 * 20))
}

@test "tune: bad words, names, twice, nothing to untune" {
	run -2 kcm rx tune
	run -2 kcm rx tune --port 0
	run -2 kcm rx tune --port 70000
	run -2 kcm rx tune --port 80 --pages 8
	run -2 kcm rx tune --port 80 --name 'a/b'
	[[ $output == *"is not a name"* ]]
	run -6 kcm rx tune --port 80 --cgroup /nowhere
	kcm rx tune --port 80 --name one >/dev/null
	run -6 kcm rx tune --port 81 --name one
	[[ $output == *"'one' is there already"* && $output == *"rx untune"* ]]
	[[ $(kcm -j status | jq -r '.instances[] | select(.system == "rx") | .name') == one ]]
	kcm rx untune one >/dev/null
	run -7 kcm rx untune one
	[[ $output == *"'one' is not tuned"* ]]
	nothing_pinned
}

@test "show: a connection with its counters, by root and by its user, gone with the process" {
	mtu 4148
	receiver 10.9.0.1 map 20 hold
	sender 10.9.0.1 "$PORT" pages 5 20 500000 500000 3>&- &
	PIDS+=("$!")
	eventually grep -q holding "$OUT"
	row=$(kcm -j rx show "$RX" | jq '.connections[0]')
	[[ $(jq -r .local <<<"$row") == "10.9.0.1:$PORT" ]]
	[[ $(jq .messages <<<"$row") == 20 && $(jq .bytes <<<"$row") == $(stat_of .bytes) ]]
	[[ $(jq .mapped <<<"$row") == $(stat_of .mapped) ]]
	[[ $(jq '.mapped + .copied == .bytes' <<<"$row") == true ]]
	[[ $(jq -r .mode <<<"$row") == map ]]
	(($(jq .held <<<"$row") >= $(stat_of .mapped)))
	run -0 kcm rx show
	[[ $output == *"10.9.0.1:$PORT"* ]]
	# Somebody else may not look.
	run -4 as_user none "$KCMTOOL" rx show "$RX"
	[[ $output == *"no right to look at process $RX"* ]]
	# SIGKILL with everything mapped: the connection ends, nothing is left.
	kill -KILL "$RX"
	wait "$RX" || true
	[[ $(kcm -j rx show | jq "[.connections[] | select(.pid == $RX)] | length") == 0 ]]
	run -1 kcm rx show "$RX"
	[[ $output == *"there is no process $RX"* ]]
	eventually bash -c "! ip netns exec '$A' ss -Htn state established | grep -q ."
	run -2 kcm rx show many
}

@test "show believes nothing: pages of others that are wrong, short, or lie" {
	cat >"$BATS_TEST_TMPDIR/liar.py" <<'PY'
import os, struct, sys, time
fd = os.memfd_create("kcm-rx")
size = 128 + 256 * 384
how = sys.argv[1]
if how == "short":
    os.write(fd, b"x" * 50)
elif how == "wrong":
    os.write(fd, os.urandom(size))
else:
    page = bytearray(b"\xff" * size)
    struct.pack_into("<QIIII", page, 0, 0x78726D636B, 1, 256, 1, 0)
    for i in range(256):
        struct.pack_into("<I", page, 128 + i * 384, 2 if i % 2 else 3)
    os.write(fd, page)
print("ready", flush=True)
time.sleep(600)
PY
	for how in short wrong lie; do
		python3 "$BATS_TEST_TMPDIR/liar.py" "$how" >"$BATS_TEST_TMPDIR/liar" 3>&- &
		PIDS+=("$!")
		liar=$!
		eventually grep -q ready "$BATS_TEST_TMPDIR/liar"
		kcm -j rx show "$liar" >"$BATS_TEST_TMPDIR/json"
		n=$(jq '.connections | length' "$BATS_TEST_TMPDIR/json")
		if [[ $how == lie ]]; then ((n == 128)); else ((n == 0)); fi
		run -0 kcm rx show "$liar"
		kill "$liar"
	done
}

@test "a socket is in a mux or has an rx, never both; in other processes neither" {
	run -0 "$BUILD/tests/rx_guard"
	[[ $output == good ]]
	rm -rf /run/kcm/mux
}
