/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* mux_maps.bpf.h - the maps of one mux. Sizes marked "set at create" come from kcm_mux_cfg. */
#ifndef KCM_MUX_MAPS_BPF_H
#define KCM_MUX_MAPS_BPF_H

/*
 * kcm_socks - the connections.
 * Key: socket cookie. Value: socket. Written by the owner and by kcm_sockops.
 * Read by nobody: it only carries the verdict program. Lifetime: the kernel removes closed sockets.
 */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, 1); /* set at create */
	__type(key, __u64);
	__type(value, __u64);
} kcm_socks SEC(".maps");

/*
 * kcm_slots - where a connection's state is. sk_skb programs may not use sk_storage.
 * Key: socket cookie. Value: index into kcm_conn. Written by the owner and kcm_sockops, read by
 * the verdict program. Lifetime: removed by the owner when the connection ends.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1); /* set at create */
	__type(key, __u64);
	__type(value, __u32);
} kcm_slots SEC(".maps");

/*
 * kcm_conn - state of each connection.
 * Key: slot. Written by the verdict program while KCM_CONN_ACTIVE, else by the owner.
 * Read by workers (read-only mapping) and `kcmtool mux conns`. Lifetime: the mux.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* set at create */
	__type(key, __u32);
	__type(value, struct kcm_conn);
} kcm_conn SEC(".maps");

/* kcm_arena - bytes of messages. Key: region. Written by producers, read by workers. */
struct kcm_region {
	__u8 bytes[KCM_REGION_BYTES];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* set at create */
	__type(key, __u32);
	__type(value, struct kcm_region);
} kcm_arena SEC(".maps");

/* kcm_chunk - what is in a chunk. Key: chunk id. Written by producers, read by workers. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* set at create */
	__type(key, __u32);
	__type(value, struct kcm_chunk);
} kcm_chunk SEC(".maps");

/* kcm_claim - who has which message. Key: chunk id. Written by producers and workers. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* set at create */
	__type(key, __u32);
	__type(value, struct kcm_claim);
} kcm_claim SEC(".maps");

/* kcm_lane - heads and tails. Key: lane. Written by producers (tail) and workers (head). */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, KCM_LANES);
	__type(key, __u32);
	__type(value, struct kcm_lane);
} kcm_lane SEC(".maps");

/* kcm_cell - cells of all lanes. Key: lane * cells + pos. Value: KCM_CELL(). Written by producers.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* set at create */
	__type(key, __u32);
	__type(value, __u64);
} kcm_cell SEC(".maps");

/* kcm_conf - what the mux was made with, and totals. Key: 0. Written by create and the owner. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct kcm_mux_conf);
} kcm_conf SEC(".maps");

/* kcm_wstat - the workers. Key: slot. Written by each worker and the owner. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, KCM_WORKERS_MAX);
	__type(key, __u32);
	__type(value, struct kcm_wstat);
} kcm_wstat SEC(".maps");

/* kcm_prod - producers' shared words. Key: 0. Written by BPF and the owner. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct kcm_prod);
} kcm_prod SEC(".maps");

/* kcm_ctl - who sleeps, who serves which lane. Key: 0. Written by workers, owner and BPF. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct kcm_ctl);
} kcm_ctl SEC(".maps");

/*
 * kcm_home - the worker that a connection's arriving bytes wake for nothing: it has the socket in
 * its epoll set. Key: connection slot. Value: gen << 8 | worker slot + 1, or 0. Written by workers,
 * reset by the owner, read by the verdict program. Lifetime: the mux.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* set at create */
	__type(key, __u32);
	__type(value, __u64); /* array elements are rounded up to 8 bytes anyway */
} kcm_home SEC(".maps");

/*
 * kcm_bells - doorbells: the only thing that a BPF program can wake an unprivileged process with.
 * Key: worker slot, or KCM_OWNER_BELL. Value: ring buffer of struct kcm_bell_rec, written by BPF,
 * read by that worker. Lifetime: put in at create.
 */
struct kcm_bell_ring {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, KCM_WORKERS_MAX + 1);
	__type(key, __u32);
	__array(values, struct kcm_bell_ring);
} kcm_bells SEC(".maps");

/* kcm_timer - wakes a sleeper when those awake are all busy. Key: 0. Written by BPF. */
struct kcm_timer {
	struct bpf_timer t;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct kcm_timer);
} kcm_timer SEC(".maps");

/* kcm_ports - local ports (host order) that kcm_sockops attaches. Written by `kcmtool mux attach`.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u32);
} kcm_ports SEC(".maps");

#endif
