# For tests of flow: `load flow_kit` after common. Two network namespaces with a veth pair:
#
#   $FLOW_NS   fl0 10.9.0.1/24 fd09::1/64   judged by flow        (in_net COMMAND...)
#   $FLOW_PEER fl1 10.9.0.2/24 fd09::2/64   where packets are sent (in_peer COMMAND...)
#
# flow_third adds a third one behind $FLOW_NS: fl2 10.8.0.1/24, and there fl3 10.8.0.2/24.
# shellcheck shell=bash disable=SC2034

# jq -e is content with no input at all: what comes before it must not fail unseen.
set -o pipefail

flow_begin() {
	FLOW_NS=kcmflow-$$-a FLOW_PEER=kcmflow-$$-b FLOW_THIRD=kcmflow-$$-c
	FLOW_DIR=$(mktemp -d)
	FLOW_PIDS=()
	ip netns add "$FLOW_NS"
	ip netns add "$FLOW_PEER"
	ip -n "$FLOW_NS" link add fl0 type veth peer name fl1 netns "$FLOW_PEER"
	flow_up "$FLOW_NS" fl0 10.9.0.1/24 fd09::1/64
	flow_up "$FLOW_PEER" fl1 10.9.0.2/24 fd09::2/64
}

flow_up() { # NETNS IFACE ADDR4 ADDR6
	ip netns exec "$1" sysctl -qw "net.ipv6.conf.$2.accept_dad=0"
	ip -n "$1" link set lo up
	ip -n "$1" addr add "$3" dev "$2"
	ip -n "$1" addr add "$4" dev "$2" nodad
	ip -n "$1" link set "$2" up
}

flow_third() {
	ip netns add "$FLOW_THIRD"
	ip -n "$FLOW_NS" link add fl2 type veth peer name fl3 netns "$FLOW_THIRD"
	flow_up "$FLOW_NS" fl2 10.8.0.1/24 fd08::1/64
	flow_up "$FLOW_THIRD" fl3 10.8.0.2/24 fd08::2/64
	in_net sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
	ip -n "$FLOW_PEER" route add 10.8.0.0/24 via 10.9.0.1
	ip -n "$FLOW_PEER" -6 route add fd08::/64 via fd09::1
	ip -n "$FLOW_THIRD" route add 10.9.0.0/24 via 10.8.0.1
	ip -n "$FLOW_THIRD" -6 route add fd09::/64 via fd08::1
}

flow_end() {
	local pid
	for pid in "${FLOW_PIDS[@]}"; do
		kill -KILL "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
	if [[ -e $PINS/flow ]]; then
		kcm unload flow >/dev/null
	fi
	ip netns del "$FLOW_NS"
	ip netns del "$FLOW_PEER"
	[[ ! -e /run/netns/$FLOW_THIRD ]] || ip netns del "$FLOW_THIRD"
	rm -rf "$FLOW_DIR"
}

in_net() { nsenter --net="/run/netns/$FLOW_NS" "$@"; }
in_peer() { nsenter --net="/run/netns/$FLOW_PEER" "$@"; }
in_third() { nsenter --net="/run/netns/$FLOW_THIRD" "$@"; }

flow() { in_net "$KCMTOOL" flow "$@"; }
flowj() { in_net "$KCMTOOL" -j flow "$@"; }
policy() { flow policy "$1" fl0 "${@:2}"; }

# One member of what `policy show` says of a policy, by its priority.
of_policy() { # PRIO MEMBER
	flowj policy show fl0 | jq -e --argjson prio "$1" ".policies[] | select(.prio == \$prio) | .$2"
}

stat_of() { flowj stat fl0 | jq -e ".$1"; }

# Until a command succeeds, 20 s at most.
flow_until() { # COMMAND...
	local n
	for ((n = 0; n < 400; n++)); do
		"$@" >/dev/null 2>&1 && return
		sleep 0.05
	done
	echo "never: $*" >&2
	return 1
}

pings() { in_peer ping -c "${2:-2}" -i 0.1 -W 1 -q "$1" >/dev/null; }
