#!/usr/bin/env bats
# flow with real programs over a live interface: what passes is whole, what is dropped is gone, and the
# counters are what tcpdump saw; each kind of packet meets the policies that it should.
bats_require_minimum_version 1.5.0
load common
load flow_kit

setup() {
	flow_begin
}

teardown() {
	flow_end
	nothing_pinned
}

sends() { in_peer python3 "$BATS_TEST_DIRNAME/flow_send.py" fl1 "$@"; }

nginx_start() {
	mkdir "$FLOW_DIR/www"
	head -c 8000000 /dev/urandom >"$FLOW_DIR/www/big"
	cat >"$FLOW_DIR/nginx.conf" <<-END
		daemon off; user root; pid $FLOW_DIR/nginx.pid; error_log /dev/null;
		events { worker_connections 256; }
		http {
			access_log off;
			server { listen 10.9.0.1:8080; listen [fd09::1]:8080; root $FLOW_DIR/www; }
		}
	END
	in_net nginx -c "$FLOW_DIR/nginx.conf" >"$FLOW_DIR/nginx.out" 2>&1 3>&- &
	FLOW_PIDS+=("$!")
	flow_until in_net curl -so /dev/null "http://10.9.0.1:8080/big"
}

fetch() { # URL: the whole file, byte by byte
	in_peer curl -sS --max-time 20 "$1" | cmp - "$FLOW_DIR/www/big"
}

@test "nginx and curl: what passes is whole, also with segmentation offload; what is dropped is not there" {
	nginx_start
	local mode
	for mode in native generic; do
		flow load fl0 --mode "$mode"
		policy add 10 name web ip proto tcp dport 8080 pass
		policy add 11 name web6 ip6 proto tcp dport 8080 pass
		policy add 20 name rest proto tcp drop
		fetch "http://10.9.0.1:8080/big"
		fetch "http://[fd09::1]:8080/big"
		(($(of_policy 10 packets) > 3 && $(of_policy 11 packets) > 3))
		[[ $(of_policy 20 packets) == 0 ]]
		policy del web
		run -28 in_peer curl -sS --max-time 1 "http://10.9.0.1:8080/big"
		(($(of_policy 20 packets) > 0))
		fetch "http://[fd09::1]:8080/big"
		# The upload direction: large segments come in by the interface that is judged.
		in_net iperf3 -s -1 --forceflush -p 5300 >"$FLOW_DIR/iperf" 2>&1 3>&- &
		FLOW_PIDS+=("$!")
		policy add 15 proto tcp dport 5300 pass
		flow_until grep -q listening "$FLOW_DIR/iperf"
		in_peer iperf3 -c 10.9.0.1 -p 5300 -n 20M -J >"$FLOW_DIR/iperf.json"
		jq -e '.end.sum_sent.bytes >= 20000000' "$FLOW_DIR/iperf.json"
		flow unload fl0
	done
}

@test "iperf3 and ping while policies come and go: nothing that should pass is lost" {
	flow load fl0
	policy add 10 name keep src 10.9.0.2 pass
	in_net iperf3 -s -1 --forceflush -p 5300 >"$FLOW_DIR/iperf" 2>&1 3>&- &
	FLOW_PIDS+=("$!")
	flow_until grep -q listening "$FLOW_DIR/iperf"
	in_peer ping -i 0.01 -c 300 -W 5 -q 10.9.0.1 >"$FLOW_DIR/ping" 3>&- &
	local pid=$!
	FLOW_PIDS+=("$pid")
	in_peer iperf3 -u -c 10.9.0.1 -p 5300 -b 20M -t 3 -J >"$FLOW_DIR/iperf.json" 3>&- &
	local iperf=$! n
	FLOW_PIDS+=("$iperf")
	for n in 1 2 3 4 5 6; do
		policy add $((20 + n)) name "p$n" proto udp dport $((9000 + n)) drop
		policy add 5 name first src 10.7.0.0/16 drop
		policy del first
		flow load fl0
	done
	wait "$pid"
	wait "$iperf"
	grep -q ' 0% packet loss' "$FLOW_DIR/ping"
	jq -e '.end.sum.packets > 100' "$FLOW_DIR/iperf.json"
	[[ $(stat_of bad) == 0 ]]
}

@test "each kind of packet meets the policies that it should" {
	flow load fl0
	cat >"$FLOW_DIR/p" <<-'END'
		1 name vlan5 vlan 5 drop
		2 name vlan9 vlan 9 drop
		10 name syn4 ip proto tcp dport 7777 flags SYN,!ACK drop
		11 name tcp4 ip proto tcp dport 7777 drop
		20 name first4 ip proto udp dport 7777 frag first drop
		21 name later4 ip frag later drop
		22 name udp4 ip proto udp sport 1000-1200 dport 7777 frag no drop
		30 name first6 ip6 proto udp dport 7777 frag first drop
		31 name later6 ip6 frag later drop
		32 name udp6 ip6 proto udp dport 7777 drop
		40 name unreach ip proto icmp icmp-type 3 icmp-code 1 drop
		50 name rest drop
	END
	policy replace -f "$FLOW_DIR/p"
	ip -n "$FLOW_NS" link set fl0 arp off
	local before
	before=$(of_policy 50 packets)
	sends 3 udp4 tcp4syn tcp4synack udp4vlan5 udp4qinq frag4first frag4later udp6 udp6ext frag6first \
		frag6later frag6atomic icmp4unreach arp
	[[ $(of_policy 1 packets) == 3 && $(of_policy 2 packets) == 3 ]]
	[[ $(of_policy 10 packets) == 3 && $(of_policy 11 packets) == 3 ]]
	[[ $(of_policy 20 packets) == 3 && $(of_policy 21 packets) == 3 && $(of_policy 22 packets) == 3 ]]
	[[ $(of_policy 30 packets) == 3 && $(of_policy 31 packets) == 3 && $(of_policy 32 packets) == 9 ]]
	[[ $(of_policy 40 packets) == 3 ]]
	(($(of_policy 50 packets) >= before + 3))
	[[ $(stat_of bad) == 0 ]]
}

@test "malformed packets match no policy, get the default action, and are counted" {
	flow load fl0
	policy add 1 name all pass
	policy default drop
	local n before
	before=$(of_policy 1 packets)
	sends 2 bad4length bad4short bad4ihl bad6length bad6ext bad6many
	[[ $(stat_of bad) == 12 ]]
	flowj policy show fl0 | jq -e '.default_packets == 12'
	# All lengths of a packet that is cut: none is taken for another one.
	for ((n = 15; n < 42; n++)); do
		echo "020000000001020000000002080045000024000740004011000001020304010203040457271100100000" |
			cut -c "1-$((2 * n))"
	done >"$FLOW_DIR/cut"
	mapfile -t cut <"$FLOW_DIR/cut"
	sends 1 "${cut[@]}"
	[[ $(stat_of bad) == $((12 + ${#cut[@]})) ]]
}

@test "tcpdump agrees with the counters of policies and flows" {
	flow load fl0
	policy add 1 name mine proto udp dport 7777 pass
	in_net timeout 60 tcpdump -nni fl0 -c 500 -w "$FLOW_DIR/cap" udp port 7777 >/dev/null 2>"$FLOW_DIR/err" 3>&- &
	local pid=$!
	FLOW_PIDS+=("$pid")
	flow_until grep -q listening "$FLOW_DIR/err"
	sends 250 udp4 udp6
	wait "$pid"
	[[ $(of_policy 1 packets) == 500 ]]
	[[ $(of_policy 1 bytes) == $((250 * 60 + 250 * 70)) ]]
	flowj list fl0 port 7777 | jq -e '[.flow[] | [.family, .packets]] | length == 2'
	flowj list fl0 port 7777 | jq -e '[.flow[].packets] == [250, 250]'
	flow test-packet fl0 --pcap "$FLOW_DIR/cap" | grep -c '1 mine' | grep -qx 500
}

@test "mark is metadata that tc can read; cpu steers" {
	flow load fl0
	policy add 1 name marked proto udp dport 7777 mark 4711
	policy add 2 name steered proto udp dport 7778 cpu 1
	sends 3 udp4
	[[ $(of_policy 1 packets) == 3 && $(stat_of mark_failed) == 0 ]]
	in_net bash -c 'exec 5<>/dev/udp/127.0.0.1/9; echo' >/dev/null
	in_net timeout 20 tcpdump -nni fl0 -c 2 udp port 7778 >"$FLOW_DIR/dump" 2>"$FLOW_DIR/err" 3>&- &
	local pid=$!
	FLOW_PIDS+=("$pid")
	flow_until grep -q listening "$FLOW_DIR/err"
	in_peer bash -c 'for i in 1 2; do echo hello >/dev/udp/10.9.0.1/7778; done'
	wait "$pid"
	[[ $(of_policy 2 packets) == 2 && $(wc -l <"$FLOW_DIR/dump") == 2 ]]
}

@test "several interfaces have one set; in tells them apart; one that goes away harms nobody" {
	flow_third
	run -0 flow load fl0 fl2
	policy add 1 name left in fl0 proto icmp count
	policy add 2 name right in fl2 proto icmp count
	pings 10.9.0.1 3
	in_third ping -c 4 -i 0.1 -W 1 -q 10.8.0.1
	[[ $(of_policy 1 packets) == 3 && $(of_policy 2 packets) == 4 ]]
	# Also when the program is replaced, and after other edits.
	flow load fl0 fl2
	policy add 9 name other proto udp dport 1 drop
	pings 10.9.0.1 2
	in_third ping -c 1 -i 0.1 -W 1 -q 10.8.0.1
	[[ $(of_policy 1 packets) == 5 && $(of_policy 2 packets) == 5 ]]
	flowj list fl2 proto icmp | jq -e '.flows == 2 and
		([.flow[] | {(.source): .interface}] | add == {"10.9.0.2": "fl0", "10.8.0.2": "fl2"})'
	run -2 policy add 3 in lo drop
	[[ $output == *lo* ]]
	ip -n "$FLOW_NS" link del fl2
	policy add 3 proto tcp count
	pings 10.9.0.1 1
	[[ $(of_policy 1 packets) == 6 ]]
	run -0 flow show fl0
	[[ $output == *"interface is gone"* ]]
}
