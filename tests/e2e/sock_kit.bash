# Shared by the sock_*.bats files that count: sock is loaded for a cgroup of the test's own, so that
# its counters count nothing else; network namespaces with what a network does.
# shellcheck shell=bash disable=SC2154
CGROUPS=$(awk '/ - cgroup2 / { print $5; exit }' /proc/self/mountinfo)

export CGROUP=$CGROUPS/kcm_count_${KCM_TEST_RUN:-0}

# Load sock for a new cgroup: sock_begin [OPTION VALUE]...
sock_begin() {
	mkdir "$CGROUP"
	kcm sock load cgroup "$CGROUP" "$@"
}

sock_end() {
	kcm sock unload
	rmdir_all "$CGROUP"
	nothing_pinned
}

# What was killed may take its time to leave.
rmdir_all() { # cgroup
	local i
	for ((i = 0; i < 1200; i++)); do
		find "$1" -depth -type d -exec rmdir {} \; 2>/dev/null
		[[ -d $1 ]] || return 0
		sleep 0.05
	done
	return 1
}

# Run in the cgroup: inside COMMAND...
inside() {
	# shellcheck disable=SC2016
	bash -c 'echo $$ >"$CGROUP/cgroup.procs" && exec "$@"' bash "$@"
}

# Two namespaces with a cable: $NS1 10.9.0.1 fd00:9::1 and $NS2 10.9.0.2 fd00:9::2.
nets_begin() { # MTU
	export NS1=kcm-test1-$$ NS2=kcm-test2-$$
	local ns
	ip netns add "$NS1"
	ip netns add "$NS2"
	ip -n "$NS1" link add v0 mtu "$1" type veth peer name v0 netns "$NS2" mtu "$1"
	for n in 1 2; do
		ns=NS$n
		ip -n "${!ns}" addr add "10.9.0.$n/24" dev v0
		((${1} < 1280)) || ip -n "${!ns}" addr add "fd00:9::$n/64" dev v0 nodad
		ip -n "${!ns}" link set lo up
		ip -n "${!ns}" link set v0 up
		ip netns exec "${!ns}" sysctl -qw net.ipv4.tcp_fastopen=0x603
	done
}

nets_end() {
	ip netns del "$NS1"
	ip netns del "$NS2"
}

nets_no_offload() {
	local ns
	for ns in "$NS1" "$NS2"; do
		ip netns exec "$ns" ethtool -K v0 tso off gso off gro off >/dev/null
	done
}

# Drop this share of what arrives and of what leaves. A lost reset would leave the peer waiting.
nets_lose() { # percent-in percent-out
	local ns
	for ns in "$NS1" "$NS2"; do
		ip netns exec "$ns" nft -f - <<-END
			flush ruleset
			table inet loss {
				chain in {
					type filter hook input priority 0
					tcp flags & rst == 0 numgen random mod 100 < $1 drop
				}
				chain out {
					type filter hook output priority 0
					tcp flags & rst == 0 numgen random mod 100 < $2 drop
				}
			}
		END
	done
}
