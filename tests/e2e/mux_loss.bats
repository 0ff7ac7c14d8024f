#!/usr/bin/env bats
# Lossy networks. A retransmission may begin with bytes that arrived before, and a verdict program
# gets those again; nothing may be framed twice.
bats_require_minimum_version 1.5.0
load common

setup_file() {
	export NS=kcm-loss-$$
	ip netns add "$NS"
	ip -n "$NS" link set lo mtu 1500 up
	ip netns exec "$NS" ethtool -K lo tso off gso off gro off >/dev/null
}

teardown_file() {
	ip netns del "$NS"
}

# Drop this share of all segments, acknowledgements too.
lose() { # percent
	ip netns exec "$NS" nft -f - <<-END
		flush ruleset
		table inet loss {
			chain in {
				type filter hook input priority 0
				tcp flags & (syn | rst | fin) == 0 numgen random mod 100 < $1 drop
			}
		}
	END
}

# Bytes that came twice, as TCP counts them.
repeated() { ip netns exec "$NS" nstat -asz TcpExtTCPDSACKOldSent | awk '/DSACK/ { print $2 }'; }

torture() {
	local before
	before=$(repeated)
	run ip netns exec "$NS" "$BUILD/tests/mux_torture" "$@"
	echo "$output"
	((status == 0))
	# Else this has tested nothing.
	(($(repeated) > before))
}

@test "8 % loss, small segments of many connections" {
	lose 8
	torture --conns 200 --msgs 60 --max 900 --seg 60 --depth 6
}

@test "8 % loss, in order" {
	lose 8
	torture --conns 200 --msgs 60 --max 900 --seg 60 --depth 6 --policy conn --seed 1
}

@test "8 % loss, streams held for want of space" {
	lose 8
	torture --conns 50 --msgs 100 --max 90000 --seg 3000 --depth 6 --arena 6291456 --pause 1500
}
