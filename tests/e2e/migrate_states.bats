# Whatever state a connection is in when its listener goes, another one accepts it with its data.
# shellcheck shell=bash
load common

teardown() { rm -rf "$PINS"; }

states() {
	"$BUILD/tests/migrate_states" "$1"
	nothing_pinned
}

@test "queued, Fast Open, half open by ACK and by timer: close, shutdown, IPv4, IPv6, 2 to 128 listeners" { states matrix; }
@test "10,000 queued connections are spread evenly over 1 to 7 listeners" { states even; }
@test "nothing moves to a listener of another kind" { states kinds; }
@test "1,000 generations, two listeners closing at once" { states generations; }
@test "a full queue, no listener at all, the group anew" { states full; }
