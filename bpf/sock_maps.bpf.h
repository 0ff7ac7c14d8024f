/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* sock_maps.bpf.h - the maps of sock. Sizes marked "set at load" come from kcm_sk_cfg. */
#ifndef KCM_SOCK_MAPS_BPF_H
#define KCM_SOCK_MAPS_BPF_H

/*
 * kcm_sk_store - state on the socket itself: of sockets without a slot.
 * Key: socket. Written by sock_create, sockops (which deletes it when a connection gets a slot),
 * the cgroup_skb programs and kcm_sk_adopt. Read by iterators. Inherited from a listener by what
 * it accepts. Lifetime: the kernel frees it with the socket.
 */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, struct kcm_sk_store);
} kcm_sk_store SEC(".maps");

/*
 * kcm_sk_hot, kcm_sk_in, kcm_sk_more - slots of connections.
 * Key: slot, one of (cookie + 0..KCM_SK_WAYS-1) & mask. Written by the programs; read by everybody
 * (kcmtool maps them). Lifetime of an element: from connect() or the handshake to TCP_CLOSE (UDP:
 * from connect() to close()). The elements behind the last slot, one a CPU, hold for an instant
 * what came with the last ACK of a handshake.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* set at load */
	__type(key, __u32);
	__type(value, struct kcm_sk_hot);
} kcm_sk_hot SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* set at load */
	__type(key, __u32);
	__type(value, struct kcm_sk_in);
} kcm_sk_in SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* set at load */
	__type(key, __u32);
	__type(value, struct kcm_sk_more);
} kcm_sk_more SEC(".maps");

/* kcm_sk_ctl - counters and switches, see struct kcm_sk_ctl. Key: 0. Lifetime: as the system. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct kcm_sk_ctl);
} kcm_sk_ctl SEC(".maps");

/*
 * kcm_sk_ports - how connections of a port are framed. Key: port and protocol. Value: number of
 * the framing. Written by `kcmtool sock frame`; read when a connection is established.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct kcm_sk_port);
	__type(value, __u32);
} kcm_sk_ports SEC(".maps");

/*
 * kcm_sk_framing - the framings. Key: their number, 1 to KCM_SK_FRAMES - 1. Written by `kcmtool
 * sock frame`; read by it and by `sock show`. The programs have their framing as a constant.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, KCM_SK_FRAMES);
	__type(key, __u32);
	__type(value, struct kcm_sk_framing);
} kcm_sk_framing SEC(".maps");

/*
 * kcm_sk_tx, kcm_sk_rx - the program that frames a stream. Key: number of the framing. Value:
 * kcm_frame_tx, kcm_frame_rx of sockframe.bpf.c, loaded for that framing.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, KCM_SK_FRAMES);
	__type(key, __u32);
	__type(value, __u32);
} kcm_sk_tx SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, KCM_SK_FRAMES);
	__type(key, __u32);
	__type(value, __u32);
} kcm_sk_rx SEC(".maps");

/* kcm_sk_rules - limits. Key: index. Written by `kcmtool sock limit`, read by sockops. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, KCM_SK_RULES);
	__type(key, __u32);
	__type(value, struct kcm_sk_rule);
} kcm_sk_rules SEC(".maps");

/*
 * kcm_sk_rings - events. Key: watcher. Value: its ring, records are struct kcm_sk_event. Written
 * by the programs, read by one `kcmtool sock watch`, which puts it there and takes it away.
 */
struct kcm_sk_ring {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 21);
} kcm_sk_ring0 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, KCM_SK_WATCHERS);
	__type(key, __u32);
	__array(values, struct kcm_sk_ring);
} kcm_sk_rings SEC(".maps");

/*
 * kcm_sk_sthead, kcm_sk_stash - segments that came before those in front of them. Key of the
 * first: 0, one element knows the owners of all chunks; of the second: chunk. Written and read by
 * the framing programs. Lifetime of a chunk: until the gap is filled or the socket closes.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct kcm_sk_stash_heads);
} kcm_sk_sthead SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, KCM_SK_STASHES);
	__type(key, __u32);
	__type(value, struct kcm_sk_stash);
} kcm_sk_stash SEC(".maps");

const volatile struct kcm_sk_cfg kcm_sk_cfg = {};

static __always_inline struct kcm_sk_ctl *ctl_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&kcm_sk_ctl, &zero);
}

#define CTL_ADD(field, n)                                        \
	do {                                                     \
		struct kcm_sk_ctl *ctl_ = ctl_get();             \
		if (ctl_)                                        \
			__sync_fetch_and_add(&ctl_->field, (n)); \
	} while (0)

#endif
