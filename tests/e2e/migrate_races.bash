# What the kernel itself loses within close() of a listener, told from what we lose: the proof is in
# the kernel, see tests/bpf/migrate_race.bpf.c. Part of migrate_kit.bash.
# shellcheck shell=bash
#
#   races_on     before the first listener opens
#   races_note   each that there was so far, "ADDRESS PORT" a line, to $MIG_DIR/raced
#   races_off

races_on() {
	local pins=/sys/fs/bpf/kcmraces-$$
	mkdir -p "$pins"
	MIG_RACES=$pins
	bpftool prog loadall "$BUILD/tests/migrate_race.bpf.o" "$pins" pinmaps "$pins/maps" &&
		bpftool cgroup attach "$MIG_CG" sock_ops pinned "$pins/race_ops" multi
}

# Sources are 127.9.0.0 + n or $MIG_SOURCE6 + n, see migrate_load; the map has their last 32 bits.
races_note() {
	[[ -n $MIG_RACES ]] || return 0
	local addr port bytes
	while read -r addr port; do
		printf -v bytes '%d.%d.%d.%d' $((addr >> 24)) $((addr >> 16 & 255)) \
			$((addr >> 8 & 255)) $((addr & 255))
		((addr >> 24)) || printf -v bytes '%s%x' "$MIG_SOURCE6" "$addr"
		echo "$bytes $port"
	done < <(bpftool -j map dump pinned "$MIG_RACES/maps/race_lost" |
		jq -r '.[].formatted.key | "\(.addr) \(.port)"') >"$MIG_DIR/raced"
}

races_off() {
	[[ -n $MIG_RACES ]] || return 0
	bpftool cgroup detach "$MIG_CG" sock_ops pinned "$MIG_RACES/race_ops"
	rm -rf "$MIG_RACES"
	MIG_RACES=''
}
