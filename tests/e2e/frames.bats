#!/usr/bin/env bats
# Framing of bytes that real programs made: recorded ones, and live ones of programs that are easy
# to have. However the stream is cut, the same messages come out, and the last ends with it.
bats_require_minimum_version 1.5.0
load common

FRAMES=$BATS_TEST_DIRNAME/frames
DATA=$BATS_TEST_DIRNAME/../data/frames

# frames FILE DESCRIPTOR MESSAGES PATTERN
frames() {
	local seed whole
	whole=$("$BUILD/tests/frame_cat" "$2" <"$1") || return 1
	for seed in 1 2 3 77; do
		diff <(echo "$whole") <("$BUILD/tests/frame_cat" "$2" "$seed" <"$1") || return 1
	done
	echo "$1 as '$2': $(wc -l <<<"$whole") messages, expected $3, like $4"
	[[ $(wc -l <<<"$whole") == "$3" ]] || return 1
	! cut -d' ' -f2 <<<"$whole" | grep -vE "$4"
}

live() { # SCENARIO FILE DESCRIPTOR MESSAGES PATTERN
	[[ -e $BATS_TEST_TMPDIR/$2 ]] || "$FRAMES/scenario" "$1" "$BATS_TEST_TMPDIR"
	frames "$BATS_TEST_TMPDIR/$2" "$3" "$4" "$5"
}

@test "recorded: every stream has its messages" {
	local file desc messages pattern n=0
	while IFS='|' read -r file desc messages pattern; do
		[[ $file == '#'* ]] && continue
		gunzip -c "$DATA/$file.gz" >"$BATS_TEST_TMPDIR/$file"
		frames "$BATS_TEST_TMPDIR/$file" "$desc" "$messages" "$pattern"
		n=$((n + 1))
	done <"$DATA/index"
	[[ $n == "$(find "$DATA" -name '*.gz' | wc -l)" ]]
}

@test "recorded: another preset does not fit" { # the checks above can fail
	gunzip -c "$DATA/bgp.0.c2s.gz" >"$BATS_TEST_TMPDIR/bgp"
	run ! frames "$BATS_TEST_TMPDIR/bgp" diameter 8 '^f{32}$'
	run ! frames "$BATS_TEST_TMPDIR/bgp" bgp 9 '^f{32}$'
	run ! frames "$BATS_TEST_TMPDIR/bgp" bgp 8 '^e'
	head -c -1 "$BATS_TEST_TMPDIR/bgp" >"$BATS_TEST_TMPDIR/short"
	run ! frames "$BATS_TEST_TMPDIR/short" bgp 8 '^f'
}

@test "live: dns-tcp of dnspython" {
	live dns-tcp dns-tcp.0.c2s dns-tcp 9 '^[0-9a-f]{8}0100000100000000000'
}

@test "live: thrift of python3-thrift" {
	live thrift thrift.0.c2s thrift 6 '^[0-9a-f]{8}800100010000000463616c6c$'
}

@test "live: kafka of python3-kafka" {
	live kafka kafka.0.c2s kafka 18 '^[0-9a-f]{8}00(12|03|00)000[01]000000'
}

@test "live: amqp of pika" {
	live amqp amqp.0.c2s amqp 18 '^(414d515000000901$|0[1238]000[01]0000)'
}

@test "live: varint of Protocol Buffers" {
	live varint varint.0.c2s varint 7 '^(00$|[0-9a-f]{2}([0-9a-f]{2}){0,4}0a)'
}

@test "live: websocket of python3-websockets" {
	# a head, 7 messages, a ping, 3 fragments and their end, the close; and the echo of them
	live websocket websocket.0.c2s websocket 14 '^(474554|(81|01|02|00|80|88|89)[89a-f])'
	live websocket websocket.0.s2c websocket 11 '^(485454|(81|82|88|8a)[0-7])'
	live websocket websocket.1.c2s websocket 14 '^(474554|(c1|42|00|80|88|89)[89a-f])'
	live websocket websocket.1.s2c websocket 11 '^(485454|(c1|c2|88|8a)[0-7])'
}

@test "live: http1 of curl" {
	live http1 http1.0.c2s http1 1 '^474554'
	live http1 http1.1.c2s http1 1 '^504f5354'
	live http1 http1.2.c2s http1 1 '^505554'
}

@test "live: http2 of nghttp" {
	# the preface, SETTINGS, five PRIORITY, HEADERS
	live http2-client http2-client.0.c2s http2 8 '^(505249202a|[0-9a-f]{6}0[0-9][0-9a-f]{2}[0-7])'
}

@test "live: tls of openssl" { # which counts the records it sends
	local n
	for n in 0 1; do
		live tls "tls.$n.c2s" tls "$(records "$n")" '^1[4-7]030[13]'
		live tls "tls.$n.s2c" tls "$("$BUILD/tests/frame_cat" tls <"$BATS_TEST_TMPDIR/tls.$n.s2c" | wc -l)" \
			'^1[4-7]0303'
	done
}

records() { # N
	[[ -e $BATS_TEST_TMPDIR/tls.0.log ]] || "$FRAMES/scenario" tls "$BATS_TEST_TMPDIR"
	grep -ac '^>>> .*RecordHeader' "$BATS_TEST_TMPDIR/tls.$1.log"
}
