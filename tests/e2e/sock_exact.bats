#!/usr/bin/env bats
# sock: bytes and messages of every connection are what its own two ends counted, while it is open
# and in the record of its close. The seed of a run is in KCM_SEED; a failure says it.
bats_require_minimum_version 1.5.0
load common
load sock_kit

EXACT=$BUILD/tests/sock_exact
SEED=${KCM_SEED:-$((RANDOM + 1))}

setup_file() {
	sock_begin
	for frame in 7001:u32be 7002:varint 7003:crlf 7004:resp; do
		kcm sock frame "${frame%:*}" "${frame#*:}"
	done
}

teardown_file() { sock_end; }

setup() { NS1=""; }

teardown() { [[ -z $NS1 ]] || nets_end; }

exact() { # NAME=VALUE...
	echo "seed=$SEED $*"
	run inside timeout 250 "$EXACT" alone=1 seed="$SEED" "$@"
	echo "$output"
	((status == 0))
}

# Between the namespaces, framed.
across() { exact server-ns="$NS2" client-ns="$NS1" framed=1 port=7001 "$@"; }

@test "64 connections of 100,000 messages each way" {
	exact framed=1 port=7001 conns=64 msgs=100000 max=64
	[[ $output == *", 0 unframed"* ]]
	messages=${output#*bytes, }
	messages=${messages%% *}
	((messages >= 2 * 64 * 100000))
}

@test "every framing, every segmentation, from 0 to 200 KB" {
	exact framed=1 port=7001 frame=u32be conns=8 msgs=300
	exact framed=1 port=7002 frame=varint conns=8 msgs=300
	exact framed=1 port=7003 frame=crlf conns=8 msgs=300
	exact framed=1 port=7004 frame=resp conns=8 msgs=300
}

@test "streams that nobody framed" { exact conns=16 msgs=300; }

@test "IPv6, and IPv4 on IPv6 sockets" {
	exact framed=1 port=7001 family=6 conns=8 msgs=300
	exact framed=1 port=7001 family=46 conns=8 msgs=300
}

@test "small receive buffers" { exact framed=1 port=7001 rcvbuf=4096 conns=8 msgs=200; }

@test "request and response: latencies of the requests, as many as the budget allows" {
	exact framed=1 port=7001 rr=1 conns=8 msgs=300 max=20000
	exact framed=1 port=7004 frame=resp rr=1 conns=8 msgs=300 max=20000
}

@test "close, half-close, RST, unread data, both at once, data that never left" {
	for end in close half rst unread both stuck; do
		exact framed=1 port=7001 end=$end conns=8 msgs=50
	done
}

@test "SIGKILL of the client or the server in the middle" {
	# Segments that were on their way into a socket that is closed: their messages are not known.
	exact framed=1 port=7001 end=kill-client conns=16 unframed-ok=1
	exact framed=1 port=7001 end=kill-server conns=16 unframed-ok=1
	exact end=kill-client conns=16
	exact end=kill-server conns=16
}

@test "writers that go from CPU to CPU" {
	exact framed=1 port=7001 migrate=1 conns=32 msgs=300 max=4000
	exact migrate=1 conns=32 msgs=300 max=4000
}

@test "data with the last ACK of the handshake" {
	for ((i = 0; i < 2; i++, SEED++)); do # odd: TCP_DEFER_ACCEPT
		exact framed=1 port=7001 early=1 conns=64 msgs=30 max=300
		exact early=1 conns=64 msgs=30 max=300
	done
}

@test "veth, IPv4 and IPv6; TCP Fast Open; SYN cookies" {
	nets_begin 1500
	across addr=10.9.0.2 conns=8 msgs=300
	across addr=fd00:9::2 family=6 conns=8 msgs=300
	across addr=10.9.0.2 fastopen=1 conns=64 msgs=30 max=300
	ip netns exec "$NS2" sysctl -qw net.ipv4.tcp_syncookies=2
	across addr=10.9.0.2 early=1 conns=64 msgs=30 max=300
}

@test "segments of 500 bytes without offloads" {
	nets_begin 576
	nets_no_offload
	across addr=10.9.0.2 conns=8 msgs=200
}

@test "3 % of segments lost, before and behind the programs: bytes exact, messages exact or said to be lost" {
	nets_begin 1500
	nets_no_offload
	nets_lose 3 3
	# Without end=stuck: what leaves last may be lost, and nobody knows how much that was.
	across addr=10.9.0.2 conns=16 msgs=300 max=20000 lossy=1 unframed-ok=1
	across addr=10.9.0.2 early=1 conns=32 msgs=20 max=300 lossy=1 unframed-ok=1
	across addr=10.9.0.2 fastopen=1 conns=32 msgs=20 max=300 lossy=1 unframed-ok=1
	exact server-ns="$NS2" client-ns="$NS1" addr=10.9.0.2 conns=16 msgs=100 lossy=1
	# What TCP says was sent is not exact for segments that its own host dropped.
	nets_lose 3 0
	across addr=10.9.0.2 end=kill-client conns=8 unframed-ok=1
	across addr=10.9.0.2 end=kill-server conns=8 unframed-ok=1
}

@test "connected UDP sockets, several threads on each" {
	run -0 inside timeout 240 "$BUILD/tests/sock_exact_udp" 16 4 2000 4
	run -0 inside timeout 240 "$BUILD/tests/sock_exact_udp" 16 4 2000 6
	run -0 inside timeout 240 "$BUILD/tests/sock_exact_udp" 512 1 50 4
}

@test "connections beyond the slots: the same" {
	sock_end
	sock_begin sockets 1024
	kcm sock frame 7001 u32be
	exact framed=1 port=7001 fill=2000 beyond=1 conns=16 msgs=300
	exact framed=1 port=7001 fill=2000 beyond=1 conns=16 rr=1 msgs=100 max=4000
	exact framed=1 port=7001 fill=2000 beyond=1 conns=32 early=1 msgs=20 max=300
	exact fill=2000 beyond=1 conns=16 msgs=300 migrate=1
	sock_end
	sock_begin sockets 1024 # 2,048 UDP sockets at once
	run -0 inside timeout 240 "$BUILD/tests/sock_exact_udp" 1024 1 20 4
	kcm -j sock stats | jq -e '.counters | .opened == 2048 and .closed == 2048 and .beyond >= 1024'
	sock_end
	sock_begin sockets 1024
	kcm sock frame 7001 u32be
	exact framed=1 port=7001 fill=2000 conns=16 end=kill-client unframed-ok=1
}
