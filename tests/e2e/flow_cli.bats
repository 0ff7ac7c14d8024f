#!/usr/bin/env bats
# flow: policies on a live interface, what each action does, what is said of bad input.
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

@test "load, show, unload: everything passes, nothing is left" {
	run -0 flow load fl0
	[[ $output == *loaded* && $output == *native* && $output == *bpf_link* ]]
	pings 10.9.0.1
	pings fd09::1
	run -0 flow show fl0
	[[ $output == *native* ]]
	flowj show fl0 | jq -e '.policies == 0 and .default == "pass" and .cache_used > 0 and
		.interfaces == [{"interface":"fl0","mode":"native"}]'
	flowj show | jq -e '.instances | length == 1'
	run -0 kcm status
	[[ $output == *flow* ]]
	run -0 flow unload fl0
	[[ $(in_net ip link show fl0) != *xdp* ]]
	pings 10.9.0.1
	run -7 flow unload fl0
	[[ $output == *"not loaded"* ]]
}

@test "first match by priority decides; the default is settable" {
	flow load fl0
	policy add 20 src 10.9.0.2 proto icmp drop
	run ! pings 10.9.0.1
	pings fd09::1
	policy add 10 name allow src 10.9.0.0/24 pass
	pings 10.9.0.1
	policy del allow
	run ! pings 10.9.0.1
	policy del 20
	pings 10.9.0.1
	policy default drop
	run ! pings 10.9.0.1
	policy default pass
	pings 10.9.0.1
}

@test "counters of policies are exact, and go on over edits and over another program" {
	flow load fl0
	policy add 5 name echo proto icmp pass
	pings 10.9.0.1 5
	[[ $(of_policy 5 packets) == 5 ]]
	policy add 1 proto tcp drop
	policy del 1
	pings 10.9.0.1 3
	[[ $(of_policy 5 packets) == 8 ]]
	run -0 flow load fl0
	[[ $output == *"program replaced"* ]]
	pings 10.9.0.1 2
	[[ $(of_policy 5 packets) == 10 ]]
	run -0 flow load fl0 --policies 100 --cache-entries 4096
	[[ $output == *"loaded anew"* ]]
	pings 10.9.0.1 2
	[[ $(of_policy 5 packets) == 12 ]]
	# With another text and the same name it is the same policy.
	printf '7 name echo ip proto icmp pass\n' >"$FLOW_DIR/p"
	policy replace -f "$FLOW_DIR/p"
	pings 10.9.0.1 2
	[[ $(of_policy 7 packets) == 14 ]]
}

@test "flows: both ends, what decides, packets; flush; time-outs" {
	flow load fl0 --idle 2 --closed 1
	policy add 5 name echo proto icmp pass
	pings 10.9.0.1 3
	flowj list fl0 proto icmp | jq -e '.flow | length == 1 and .[0].source == "10.9.0.2" and
		.[0].destination == "10.9.0.1" and .[0].packets == 3 and .[0].policy == "5 echo"'
	flowj list fl0 policy echo src 10.9.0.2 | jq -e '.flows == 1'
	flowj list fl0 host 10.7.0.0/16 | jq -e '.flows == 0'
	[[ $(flowj flush fl0 proto icmp | jq .flushed) -ge 1 ]]
	flowj list fl0 proto icmp | jq -e '.flows == 0'
	pings 10.9.0.1 2
	flowj list fl0 proto icmp | jq -e '.flow[0].packets == 2'
	gone_flow() { flowj list fl0 proto icmp | jq -e '.flows == 0'; }
	flow_until gone_flow
	# What comes after its time-out is another flow.
	pings 10.9.0.1 1
	flowj list fl0 proto icmp | jq -e '.flow[0].packets == 1'
}

@test "deleting a policy judges its own flows anew, and no others" {
	# All on one CPU: on another one the flow would be a new one, and nothing of it stale.
	taskset -cp "$(taskset -cp $BASHPID | sed 's/.*: //; s/[-,].*//')" $BASHPID >/dev/null
	flow load fl0
	policy add 5 name echo proto icmp pass
	policy add 6 name rest pass
	pings 10.9.0.1 2
	pings fd09::1 2
	local stale
	stale=$(stat_of stale)
	policy del echo
	pings 10.9.0.1 2
	pings fd09::1 2
	# One flow of IPv4, the echo request, on each CPU that saw it. IPv6's is no `proto icmp`.
	stale=$(($(stat_of stale) - stale))
	((stale >= 1 && stale <= $(nproc)))
	flowj list fl0 proto icmp | jq -e '.flow[0].policy == "6 rest"'
}

@test "count and sample go on to the next policy" {
	flow load fl0
	policy add 1 name all count
	policy add 2 name some proto icmp sample 1/1
	policy add 3 name last proto icmp drop
	in_net timeout 20 "$KCMTOOL" -j flow watch fl0 --count 3 --pcap "$FLOW_DIR/cap" >"$FLOW_DIR/out" &
	local pid=$!
	FLOW_PIDS+=("$pid")
	more() { in_peer ping -c 1 -W 1 -q 10.9.0.1 >/dev/null; [[ $(wc -l <"$FLOW_DIR/out") -ge 3 ]]; }
	flow_until more
	wait "$pid"
	jq -e '.policy == "2 some" and .interface == "fl0" and (.bytes | length) > 60' "$FLOW_DIR/out"
	[[ $(of_policy 1 packets) -ge 3 ]]
	[[ $(of_policy 2 packets) == "$(of_policy 3 packets)" ]]
	run -0 flow test-packet fl0 --pcap "$FLOW_DIR/cap"
	[[ $output == *"3 last"* ]]
}

@test "limit: what is over the rate is dropped, and counted" {
	flow load fl0
	policy add 1 name slow proto icmp limit 5pps burst 5
	in_peer ping -c 60 -i 0.01 -W 1 -q 10.9.0.1 >"$FLOW_DIR/out" || true
	local got limited
	got=$(sed -n 's/.* \([0-9]*\) received.*/\1/p' "$FLOW_DIR/out")
	limited=$(stat_of limited)
	((got >= 5 && got < 30))
	((got + limited == 60))
}

@test "redirect and forward deliver" {
	flow_third
	in_net ethtool -K fl2 gro on 2>/dev/null || true
	in_third ethtool -K fl3 gro on
	in_peer ethtool -K fl1 gro on
	flow load fl0
	in_peer ping -c 1 -W 2 -q 10.8.0.2
	policy add 1 ip dst 10.8.0.0/24 forward
	policy add 2 ip6 dst fd08::/64 forward
	in_peer ping -c 5 -i 0.01 -W 2 -q 10.8.0.2
	in_peer ping -c 5 -i 0.01 -W 2 -q fd08::2
	(($(of_policy 1 packets) >= 5 && $(of_policy 2 packets) >= 5))
	(($(stat_of fib_hits) + $(stat_of fib_asked) >= 10))
	policy add 3 name over proto udp dport 7 redirect fl2
	in_third timeout 20 tcpdump -nni fl3 -c 1 udp port 7 >"$FLOW_DIR/dump" 2>"$FLOW_DIR/err" &
	local pid=$!
	FLOW_PIDS+=("$pid")
	flow_until grep -q listening "$FLOW_DIR/err"
	in_peer bash -c 'echo hello >/dev/udp/10.9.0.1/7'
	wait "$pid"
	grep -q '10.9.0.2.*> 10.9.0.1.7' "$FLOW_DIR/dump"
}

@test "lists, negation, ranges, families, in" {
	flow load fl0
	printf '10.9.0.2 # the peer\nfd09::/64\n' >"$FLOW_DIR/bad"
	printf 'list bad bad\n10 name listed src @bad proto icmp drop\n20 in fl0 src not 10.9.0.0/24 count\n30 pass\n' >"$FLOW_DIR/p"
	policy check -f "$FLOW_DIR/p"
	policy replace -f "$FLOW_DIR/p"
	run ! pings 10.9.0.1
	pings fd09::1
	# A set is saved as it was written, and put in again changes nothing.
	policy save >"$FLOW_DIR/saved"
	policy replace -f "$FLOW_DIR/saved"
	policy save | diff "$FLOW_DIR/saved" -
	run ! pings 10.9.0.1
	# The list is read again.
	echo 10.9.7.0/24 >"$FLOW_DIR/bad"
	policy replace -f "$FLOW_DIR/p"
	pings 10.9.0.1
	run -2 policy add 40 src @none drop
	[[ $output == *none* ]]
}

@test "load -f: policies are in force from the start, and over what is there" {
	printf '1 name noping proto icmp drop\n2 in fl0 pass\n' >"$FLOW_DIR/p"
	flow load fl0 -f "$FLOW_DIR/p"
	run ! pings 10.9.0.1
	printf '1 name noping proto icmp drop\n0 name ping proto icmp pass\n' >"$FLOW_DIR/p"
	flow load fl0 -f "$FLOW_DIR/p"
	pings 10.9.0.1
	flow load fl0 -f "$FLOW_DIR/p" --policies 50
	pings 10.9.0.1 1
	[[ $(of_policy 0 packets) -eq 3 ]]
	flow unload fl0
	echo "1 src 1.2.3.4.5 drop" >"$FLOW_DIR/p"
	run -6 flow load fl0 -f "$FLOW_DIR/p"
	run -7 flow show fl0
}

@test "test-packet says which policy decides, and sends nothing" {
	flow load fl0
	policy add 10 name web ip proto tcp dport 80-89 flags SYN,!ACK pass
	policy add 20 name rest ip dst 10.9.0.1 drop
	flowj test-packet fl0 --spec "ip src 1.2.3.4 dst 10.9.0.1 proto tcp dport 85 flags SYN" |
		jq -e '.packets[0].policy == "10 web"'
	flowj test-packet fl0 --spec "ip src 1.2.3.4 dst 10.9.0.1 proto tcp dport 90 flags SYN" |
		jq -e '.packets[0].policy == "20 rest"'
	[[ $(of_policy 20 packets) == 0 ]]
	run -2 flow test-packet fl0 --spec "ip src 1.2.3.400"
	[[ $output == *1.2.3.400* ]]
	run -2 flow test-packet fl0
}

@test "another XDP program is left alone, and it is said whose it is" {
	flow load fl0
	local id
	id=$(in_net ip -j -d link show fl0 | jq '.[0].xdp.prog.id')
	bpftool prog pin id "$id" /sys/fs/bpf/kcmflow-$$
	flow unload fl0
	in_net bpftool net attach xdp pinned /sys/fs/bpf/kcmflow-$$ dev fl0
	run -1 flow load fl0
	rm /sys/fs/bpf/kcmflow-$$
	[[ $output == *"another XDP program"* && $output == *kcm_fl_xdp* ]]
	in_net bpftool net detach xdp dev fl0
	flow load fl0
}

@test "bad input: one line, and what is in force stays" {
	run -6 flow load nosuch
	[[ $output == *nosuch* && ${#lines[@]} -eq 1 ]]
	run -7 flow list fl0
	[[ ${#lines[@]} -eq 1 ]]
	flow load fl0
	policy add 1 name keep proto icmp drop
	printf '1 src 10.0.0.0/8 drop\n2 src 300.1.1.1 drop\n3 dport 99999 pass\n4 frobnicate\n' >"$FLOW_DIR/p"
	run -6 policy replace -f "$FLOW_DIR/p"
	[[ $output == *"p:2:"* && $output == *"p:3:"* && $output == *"p:4:"* ]]
	run ! pings 10.9.0.1
	[[ $(of_policy 1 name) == '"keep"' ]]
	run -2 policy add 2 name keep drop
	run -1 policy del 77
	run -2 policy frob
	run -2 flow load fl0 --mode fast
	run -6 policy replace -f "$FLOW_DIR/none"
}
