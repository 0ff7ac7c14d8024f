#!/usr/bin/env bats
# flow: several commands at once, and interfaces that go while they are judged.
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

wait_all() { # PID...: all of them succeeded
	local pid bad=0
	for pid; do
		wait "$pid" || bad=1
	done
	((!bad))
}

@test "policies put in and taken out by several at once: each of them, and nothing else" {
	local n pids=()
	flow load fl0
	for n in {1..8}; do
		policy add "$n" name "old$n" proto udp dport "$n" drop
	done
	for n in {1..8}; do
		policy add "$((100 + n))" name "new$n" proto tcp dport "$n" drop >/dev/null &
		pids+=("$!")
		policy del "old$n" >/dev/null &
		pids+=("$!")
	done
	wait_all "${pids[@]}"
	flowj policy show fl0 | jq -e '[.policies[].name] == [range(1; 9) | "new\(.)"]'
	pings 10.9.0.1 1
}

@test "loaded by several at once: one instance, and all of them say so" {
	local pids
	for _ in 1 2 3; do
		pids=()
		for _ in {1..4}; do
			flow load fl0 >/dev/null &
			pids+=("$!")
		done
		wait_all "${pids[@]}"
		flowj show | jq -e '.instances | length == 1'
		flow unload fl0
	done
}

@test "who looks while programs come and go always sees a whole set" {
	local n reader readers=()
	flow load fl0
	for n in 0 1; do
		printf '1 name a%s proto udp dport 1 drop\n2 name b%s proto udp dport 2 drop\n' "$n" "$n" \
			>"$FLOW_DIR/set$n"
	done
	policy replace -f "$FLOW_DIR/set0"
	look() {
		while [[ ! -e $FLOW_DIR/stop ]]; do
			flowj policy show fl0 >"$FLOW_DIR/seen$1" || return
			jq -e '[.policies[].name] | . == ["a0", "b0"] or . == ["a1", "b1"]' \
				"$FLOW_DIR/seen$1" >/dev/null || return
			flowj show fl0 >/dev/null || return
		done
	}
	for reader in 1 2 3; do
		look "$reader" &
		readers+=("$!")
	done
	for n in {1..30}; do
		policy replace -f "$FLOW_DIR/set$((n & 1))" >/dev/null
		((n % 10)) || flow load fl0 --cache-entries "$((n * 512))" >/dev/null
	done
	touch "$FLOW_DIR/stop"
	wait_all "${readers[@]}"
}

@test "an interface goes: the others are judged, and policies of it are no obstacle" {
	ip -n "$FLOW_NS" link add gone0 type veth peer name gone1
	ip -n "$FLOW_NS" link set gone0 up
	flow load fl0 gone0
	policy add 1 name there in gone0 proto icmp drop
	policy add 2 name here in fl0 proto udp dport 7 drop
	ip -n "$FLOW_NS" link del gone0
	pings 10.9.0.1 1
	policy add 3 name echo in fl0 proto icmp drop
	run ! pings 10.9.0.1 1
	policy del echo
	pings 10.9.0.1 1
	flow show fl0
	policy del there
	policy add 4 name echo in fl0 proto icmp drop
	run ! pings 10.9.0.1 1
}

@test "policies that name interfaces are in force after load over it, after default and add" {
	flow_third
	flow load fl0
	policy add 1 name mine in fl0 proto udp dport 7 drop
	policy add 2 name over dst 10.9.0.77 proto icmp redirect fl2
	policy add 3 name all proto icmp drop
	policy save >"$FLOW_DIR/before"
	flow load fl0
	flow load fl0 --cache-entries 512
	policy default drop
	policy default pass
	policy add 4 name more proto tcp drop
	policy del more
	policy save | diff "$FLOW_DIR/before" -
	# They are in the slots where they were: no redirect to an interface that nobody looked up.
	local ifindex
	ifindex=$(ip -n "$FLOW_NS" -j link show fl2 | jq ".[0].ifindex")
	bpftool -j map dump pinned "$PINS/flow/$(flowj show fl0 | jq -r .name)/kcm_fl_pol" |
		jq -e --argjson want "$ifindex" '[.[] | .formatted.value | select(.action == 6 and
			.gen % 2 == 1) | .arg] == [$want]'
}

@test "all interfaces go: it is said, and unload works" {
	ip -n "$FLOW_NS" link add gone0 type veth peer name gone1
	ip -n "$FLOW_NS" link set gone0 up
	flow load gone0
	flow policy add gone0 1 name udp proto udp drop
	ip -n "$FLOW_NS" link del gone0
	run flow policy add gone0 2 name tcp proto tcp drop
	((status != 0))
	[[ $output == *gone0* && $output == *gone* ]]
	flow unload gone0
}
