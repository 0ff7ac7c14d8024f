/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* migrate_socks.bpf.h - the maps of migrate that are for TCP: its listeners, and what is known of
 * them. */
#ifndef KCM_MIGRATE_SOCKS_BPF_H
#define KCM_MIGRATE_SOCKS_BPF_H

/*
 * kcm_mg_socks - the listeners. Key: cookie; value: socket. Written by sockops, kcm_mg_adopt, and
 * the keeper (anchors); the kernel removes a socket as it closes. Read by the selector.
 */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, KCM_MG_SLOTS);
	__type(key, __u64);
	__type(value, __u64);
} kcm_mg_socks SEC(".maps");

/*
 * kcm_mg_seats - the listeners again, by slot: an array, which is read in half the time. Key: slot;
 * value: socket. Written by sockops and kcm_mg_adopt, a moment after the slot is in a generation;
 * the kernel removes a socket as it closes. Read by the selector, which looks into kcm_mg_socks
 * for what is not here.
 */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, KCM_MG_SLOTS);
	__type(key, __u32);
	__type(value, __u64);
} kcm_mg_seats SEC(".maps");

/*
 * kcm_mg_sticky - the listener that a client's address has (KCM_MG_CLIENT). Written and read by
 * the selector; the least recently used go first. Size set at load.
 */
struct kcm_mg_client {
	__u8 addr[16];
	__u32 group;
};

struct kcm_mg_had {
	__u64 cookie;
	__u64 slot; /* is another one's if it has another cookie */
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1);
	__type(key, struct kcm_mg_client);
	__type(value, struct kcm_mg_had);
} kcm_mg_sticky SEC(".maps");

/*
 * kcm_mg_said - what a server has said of a socket before listen(), see kcm_migrate.h. Key: socket.
 * Written by setsockopt(), read at listen(). Not inherited by what a listener accepts. Freed by the
 * kernel with the socket.
 */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct kcm_mg_said);
} kcm_mg_said SEC(".maps");

#endif
