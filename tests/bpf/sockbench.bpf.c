// SPDX-License-Identifier: GPL-2.0
/*
 * sockbench.bpf.c - one counter of bytes and segments a socket, kept in six ways.
 *
 * cgroup_skb egress programs that differ only in how they find the socket's counters. sb_slot is
 * what sock does: its maps, its slot_find(), its way to give out slots. For
 * tests/bench/sock_lookup.c.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include "sock.h"
#include "sock_maps.bpf.h"
#include "sock_find.bpf.h"

char _license[] SEC("license") = "Dual BSD/GPL";

#define IP_UDP_BYTES 28 /* IPv4 without options, UDP */

/* Of IPv4 and IPv6, as whoever keeps every socket in one hash needs it. */
struct sb_tuple {
	__u32 saddr[4], daddr[4];
	__u16 sport, dport;
};

struct sb_tuple4 {
	__u32 saddr, daddr;
	__u16 sport, dport;
};

/* Sizes are set at load. All live as long as the benchmark. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct kcm_sk_hot);
} sb_storage_map SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __u64);
	__type(value, struct kcm_sk_hot);
} sb_cookie_map SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1);
	__type(key, __u64);
	__type(value, struct kcm_sk_hot);
} sb_lru_map SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct sb_tuple);
	__type(value, struct kcm_sk_hot);
} sb_tuple_map SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct sb_tuple4);
	__type(value, struct kcm_sk_hot);
} sb_tuple4_map SEC(".maps");

__u64 sb_full;	  /* map refused an element: the figures of that side are of no use */
__u64 sb_in_slot; /* connects that got a slot */

static const struct kcm_sk_hot zero;

static __always_inline void count(struct __sk_buff *ctx, struct kcm_sk_hot *hot)
{
	hot->tx_bytes += ctx->len;
	hot->tx_segs++;
}

/* A socket's first segment makes its element: the warm-up before the first round. */
static __always_inline int count_in(struct __sk_buff *ctx, void *map, const void *key)
{
	struct kcm_sk_hot *hot = bpf_map_lookup_elem(map, key);

	if (!hot) {
		if (bpf_map_update_elem(map, key, &zero, BPF_NOEXIST))
			__sync_fetch_and_add(&sb_full, 1);
		return 1;
	}
	count(ctx, hot);
	return 1;
}

SEC("cgroup_skb/egress")
int sb_empty(struct __sk_buff *ctx)
{
	return 1;
}

SEC("cgroup_skb/egress")
int sb_storage(struct __sk_buff *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct kcm_sk_hot *hot;

	if (!sk)
		return 1;
	hot = bpf_sk_storage_get(&sb_storage_map, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (hot)
		count(ctx, hot);
	else
		__sync_fetch_and_add(&sb_full, 1);
	return 1;
}

SEC("cgroup_skb/egress")
int sb_cookie(struct __sk_buff *ctx)
{
	__u64 cookie = bpf_get_socket_cookie(ctx);

	return count_in(ctx, &sb_cookie_map, &cookie);
}

SEC("cgroup_skb/egress")
int sb_lru(struct __sk_buff *ctx)
{
	__u64 cookie = bpf_get_socket_cookie(ctx);

	return count_in(ctx, &sb_lru_map, &cookie);
}

SEC("cgroup_skb/egress")
int sb_tuple(struct __sk_buff *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct iphdr *ip = data;
	struct udphdr *udp = data + sizeof(*ip);
	struct sb_tuple key = {};

	if (data + IP_UDP_BYTES > end)
		return 1;
	key.saddr[2] = bpf_htonl(0xffff);
	key.saddr[3] = ip->saddr;
	key.daddr[2] = bpf_htonl(0xffff);
	key.daddr[3] = ip->daddr;
	key.sport = udp->source;
	key.dport = udp->dest;
	return count_in(ctx, &sb_tuple_map, &key);
}

SEC("cgroup_skb/egress")
int sb_tuple4(struct __sk_buff *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct iphdr *ip = data;
	struct udphdr *udp = data + sizeof(*ip);
	struct sb_tuple4 key;

	if (data + IP_UDP_BYTES > end)
		return 1;
	key.saddr = ip->saddr;
	key.daddr = ip->daddr;
	key.sport = udp->source;
	key.dport = udp->dest;
	return count_in(ctx, &sb_tuple4_map, &key);
}

/* As kcm_sk_egress finds it. */
SEC("cgroup_skb/egress")
int sb_slot(struct __sk_buff *ctx)
{
	__u32 slot;
	struct kcm_sk_hot *hot = slot_find(bpf_get_socket_cookie(ctx), &slot);

	if (!hot) {
		struct bpf_sock *sk = ctx->sk;
		struct kcm_sk_store *store =
			sk ? bpf_sk_storage_get(&kcm_sk_store, sk, 0, 0) : NULL;

		if (!store)
			return 1;
		hot = &store->hot;
	}
	count(ctx, hot);
	return 1;
}

/* As the product's hooks leave it: in a slot, or on the socket. */
SEC("cgroup/connect4")
int sb_connect(struct bpf_sock_addr *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct kcm_sk_store *store;
	struct kcm_sk_hot *hot;
	__u64 cookie;
	__u32 at;
	int slot;

	if (!sk)
		return 1;
	cookie = bpf_get_socket_cookie(ctx);
	slot = kcm_slot_claim(cookie);
	if (slot >= 0) {
		at = slot;
		hot = bpf_map_lookup_elem(&kcm_sk_hot, &at);
		if (!hot)
			return 1;
		slot_publish(hot, cookie);
		__sync_fetch_and_add(&sb_in_slot, 1);
		return 1;
	}
	store = bpf_sk_storage_get(&kcm_sk_store, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (store)
		store->hot.tag = cookie;
	else
		__sync_fetch_and_add(&sb_full, 1);
	return 1;
}
