// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * sock.bpf.c - keeps state for every TCP socket and every connected UDP socket of a cgroup.
 *
 * sock_create notes who opens it, sockops follows the connection, the cgroup_skb programs count.
 * No tracing programs: nothing here depends on the kernel's inner functions.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include "sock.h"
#include "sock_maps.bpf.h"
#include "sock_find.bpf.h"
#include "sock_pkt.bpf.h"
#include "sock_sample.bpf.h"
#include "sock_event.bpf.h"
#include "sock_rule.bpf.h"
#include "sock_pace.bpf.h"
#include "sock_label.bpf.h"
#include "sock_opt.bpf.h"
#include "sock_early.bpf.h"
#include "sock_ops.bpf.h"

char _license[] SEC("license") = "Dual BSD/GPL";

#define KCM_SOCK_STREAM 1
#define KCM_SOCK_DGRAM	2

/* ---- who opens it ---- */

static __always_inline void note_opener(struct kcm_sk_info *info, __u64 netns_cookie)
{
	info->pid = bpf_get_current_pid_tgid() >> 32;
	info->uid = bpf_get_current_uid_gid();
	bpf_get_current_comm(info->comm, sizeof(info->comm));
	info->cgroup_id = bpf_get_current_cgroup_id();
	info->netns_cookie = netns_cookie;
}

SEC("cgroup/sock_create")
int kcm_sk_create(struct bpf_sock *ctx)
{
	__u32 proto = ctx->protocol;
	struct kcm_sk_store *store;

	if (!(ctx->type == KCM_SOCK_STREAM && proto == KCM_SK_TCP) &&
	    !(ctx->type == KCM_SOCK_DGRAM && proto == KCM_SK_UDP))
		return 1;
	store = bpf_sk_storage_get(&kcm_sk_store, ctx, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!store) {
		CTL_ADD(no_storage, 1);
		return 1;
	}
	store->hot.tag = bpf_get_socket_cookie(ctx);
	store->hot.proto = proto;
	store->more.info.family = ctx->family;
	note_opener(&store->more.info, bpf_get_netns_cookie(ctx));
	return 1;
}

/*
 * TCP: nobody knows who opened a socket that is older than the programs, that a connection was
 * cut off from (its state went with it), or that the kernel made: it is who calls connect().
 */
static __always_inline void tcp_opener(struct bpf_sock_addr *ctx, struct bpf_sock *sk)
{
	struct kcm_sk_store *store =
		bpf_sk_storage_get(&kcm_sk_store, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);

	if (store && !store->more.info.pid)
		note_opener(&store->more.info, bpf_get_netns_cookie(ctx));
}

/* ---- UDP: connect() to close() ---- */

static __always_inline int udp_connect(struct bpf_sock_addr *ctx, int v6)
{
	struct bpf_sock *sk = ctx->sk;
	struct kcm_sk_store *store;
	struct kcm_sk_ref ref;
	struct kcm_sk_info *info;
	__u64 cookie;
	int slot, known;

	if (!sk)
		return 1;
	if (ctx->protocol == KCM_SK_TCP)
		tcp_opener(ctx, sk);
	if (ctx->protocol != KCM_SK_UDP)
		return 1;
	cookie = bpf_get_socket_cookie(ctx);
	if (!slot_ref(cookie, &ref)) {
		if (!ref.in || !ref.more)
			return 1;
	} else {
		store = bpf_sk_storage_get(&kcm_sk_store, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
		if (!store) {
			CTL_ADD(no_storage, 1);
			return 1;
		}
		store_ref(store, &ref);
		/* Connected before, it stays where it is: other CPUs count there. */
		known = store->hot.state == KCM_SK_ESTABLISHED;
		store->hot.tag = cookie;
		store->hot.proto = KCM_SK_UDP;
		if (!known)
			store->more.info.start_ns = bpf_ktime_get_ns();
		slot = known ? -1 : kcm_slot_claim(cookie);
		if (slot >= 0) {
			if (slot_take(slot, &ref))
				return 1;
			slot_fill(&ref, store);
			label_move(&ref.more->info, &store->more.info);
		} else if (!known) {
			CTL_ADD(beyond, 1);
		}
		if (!known)
			CTL_ADD(opened, 1);
	}
	info = &ref.more->info;
	ref.hot->state = KCM_SK_ESTABLISHED;
	ref.hot->role = KCM_ROLE_CLIENT;
	ref.hot->flags = 0; /* the local address is told by the first datagram */
	info->rport = bpf_ntohs(ctx->user_port);
	info->family = v6 ? KCM_AF_INET6 : KCM_AF_INET;
	if (v6) {
		*(__u32 *)&info->raddr[0] = ctx->user_ip6[0];
		*(__u32 *)&info->raddr[4] = ctx->user_ip6[1];
		*(__u32 *)&info->raddr[8] = ctx->user_ip6[2];
		*(__u32 *)&info->raddr[12] = ctx->user_ip6[3];
	} else {
		*(__u32 *)&info->raddr[0] = ctx->user_ip4;
	}
	rules_apply_udp(ref.hot, ref.more, cookie);
	if (ref.slot != KCM_SK_SLOT_NONE && ref.hot->tag != cookie) {
		slot_publish(ref.hot, cookie);
		bpf_sk_storage_delete(&kcm_sk_store, sk);
	}
	return 1;
}

SEC("cgroup/connect4")
int kcm_sk_conn4(struct bpf_sock_addr *ctx)
{
	return udp_connect(ctx, 0);
}

SEC("cgroup/connect6")
int kcm_sk_conn6(struct bpf_sock_addr *ctx)
{
	return udp_connect(ctx, 1);
}

SEC("cgroup/sock_release")
int kcm_sk_release(struct bpf_sock *ctx)
{
	struct kcm_sk_ref ref;
	__u64 cookie;

	if (ctx->protocol != KCM_SK_UDP)
		return 1;
	cookie = bpf_get_socket_cookie(ctx);
	if (!slot_ref(cookie, &ref)) {
		if (!ref.in || !ref.more)
			return 1;
	} else {
		struct kcm_sk_store *store = bpf_sk_storage_get(&kcm_sk_store, ctx, 0, 0);

		if (!store || store->hot.state != KCM_SK_ESTABLISHED)
			return 1; /* never connected */
		store_ref(store, &ref);
	}
	ref.hot->state = KCM_SK_CLOSE;
	CTL_ADD(closed, 1);
	event_send(KCM_SKE_CLOSE, &ref, cookie, 0);
	if (ref.slot != KCM_SK_SLOT_NONE)
		slot_release(ref.hot, ref.in);
	return 1;
}

/* Datagrams of one socket leave on several CPUs at once: atomic. A datagram is a message. */
static __always_inline void udp_count(struct __sk_buff *ctx, const struct kcm_pkt *p,
				      struct kcm_sk_hot *hot, struct kcm_sk_in *in,
				      struct kcm_sk_more *more, int tx)
{
	__u32 n = ctx->gso_segs > 1 ? ctx->gso_segs : 1;

	in->last_ns = bpf_ktime_get_coarse_ns();
	if (tx) {
		__sync_fetch_and_add(&hot->tx_bytes, p->len);
		__sync_fetch_and_add(&hot->tx_segs, n);
	} else {
		__sync_fetch_and_add(&in->rx_bytes, p->len);
		__sync_fetch_and_add(&in->rx_segs, n);
	}
	if (tx && !(hot->flags & KCM_SKF_TX_BASE)) {
		__u8 unused[16];

		hot->flags |= KCM_SKF_TX_BASE;
		more->info.lport = p->sport;
		pkt_addrs(ctx, p, more->info.laddr, unused);
	}
}

/* ---- segments ---- */

SEC("cgroup_skb/egress")
int kcm_sk_egress(struct __sk_buff *ctx)
{
	struct kcm_pkt p;
	struct kcm_sk_ref ref;
	__u64 cookie, now;
	__s32 fresh;

	if (pkt_parse(ctx, &p)) {
		CTL_ADD(unparsed, 1);
		return 1;
	}
	if (!p.proto)
		return 1;
	cookie = bpf_get_socket_cookie(ctx);
	ref.hot = slot_find(cookie, &ref.slot);
	ref.more = NULL;
	if (ref.hot) {
		ref.in = slot_in(ref.slot);
		if (!ref.in)
			return 1;
	} else {
		struct bpf_sock *sk = ctx->sk;
		struct kcm_sk_store *store =
			sk ? bpf_sk_storage_get(&kcm_sk_store, sk, 0, 0) : NULL;

		if (!store || store->hot.state == KCM_SK_NEW)
			return 1;
		store_ref(store, &ref);
	}
	if (p.proto == KCM_SK_UDP) {
		if (!ref.more)
			ref.more = slot_more(ref.slot);
		if (!ref.more)
			return 1;
		/* 2: as if a queue were full. With 0 send() would fail. */
		if ((ref.hot->limit & KCM_SKF_LIMIT_DROP) &&
		    !limit_egress(ref.hot, ref.more, p.len))
			return 2;
		udp_count(ctx, &p, ref.hot, ref.in, ref.more, 1);
		return 1;
	}
	if (ref.hot->limit & KCM_SKF_LIMIT_DROP) {
		if (!ref.more)
			ref.more = slot_more(ref.slot);
		if (ref.more && !limit_egress(ref.hot, ref.more, p.len))
			return 0;
	}
	ref.hot->tx_segs += ctx->gso_segs > 1 ? ctx->gso_segs : 1;
	if (p.syn && !(ref.hot->flags & KCM_SKF_TX_BASE)) {
		ref.hot->tx_seq = p.seq;
		flags_set(ref.hot, KCM_SKF_TX_BASE);
	}
	now = bpf_ktime_get_coarse_ns();
	fresh = p.seq + p.len - ref.hot->tx_seq;
	if (SAMPLE_TICK(now) != ref.hot->tick || (p.len && fresh <= 0) ||
	    (ref.hot->flags & KCM_SKF_RX_GAP)) {
		struct bpf_sock *sk = ctx->sk;
		struct bpf_tcp_sock *tp = sk ? bpf_tcp_sock(sk) : NULL;

		ref.hot->tick = SAMPLE_TICK(now);
		if (!ref.more)
			ref.more = slot_more(ref.slot);
		if (tp && ref.more) {
			sample_tcp(tp, &ref.more->info);
			if ((ref.hot->flags & KCM_SKF_RX_GAP) &&
			    (!ref.hot->frame || (ref.hot->frame_dead & 2)))
				sample_rx(ref.hot, ref.in, tp->rcv_nxt);
		}
	}
	ref.in->last_ns = now;
	if (!p.len || fresh <= 0 || !(ref.hot->flags & KCM_SKF_TX_BASE))
		return 1;
	if (ref.hot->frame && !(ref.hot->frame_dead & 1)) {
		frame_args(ctx, &p, ref.slot);
		frame_call(ctx, &kcm_sk_tx, ref.hot->frame);
		frame_gone(ref.hot, ref.more ?: slot_more(ref.slot), 1);
	}
	ref.hot->tx_bytes += fresh;
	ref.hot->tx_seq += fresh;
	return 1;
}

/* Segments of a stream that is not framed: count what is in order, note what is not. */
static __always_inline void rx_count(struct kcm_sk_hot *hot, struct kcm_sk_in *in,
				     const struct kcm_pkt *p)
{
	__u64 have = *(volatile __u64 *)&in->rx_bytes;
	__u32 end = p->seq + p->len, next = in->rx_base + (__u32)have;

	if ((__s32)(end - next) <= 0)
		return;
	if ((__s32)(p->seq - next) > 0) {
		if (!(hot->flags & KCM_SKF_RX_GAP) || (__s32)(end - in->rx_far) > 0)
			in->rx_far = end;
		flags_set(hot, KCM_SKF_RX_GAP);
		return;
	}
	in->rx_bytes = have + (end - next);
}

SEC("cgroup_skb/ingress")
int kcm_sk_ingress(struct __sk_buff *ctx)
{
	struct kcm_sk_more *more = NULL;
	struct kcm_pkt p;
	struct kcm_sk_hot *hot;
	struct kcm_sk_in *in;
	__u32 slot;

	if (pkt_parse(ctx, &p)) {
		CTL_ADD(unparsed, 1);
		return 1;
	}
	if (!p.proto)
		return 1;
	hot = slot_find(bpf_get_socket_cookie(ctx), &slot);
	if (hot) {
		in = slot_in(slot);
		if (!in)
			return 1;
	} else {
		struct bpf_sock *sk = ctx->sk;
		struct kcm_sk_store *store =
			sk ? bpf_sk_storage_get(&kcm_sk_store, sk, 0, 0) : NULL;

		if (!store || store->hot.state == KCM_SK_NEW)
			return 1;
		if (store->hot.state == KCM_SK_LISTEN) {
			if (p.len)
				early_note(ctx, &p, store);
			return 1;
		}
		hot = &store->hot;
		in = &store->in;
		more = &store->more;
	}
	if (p.proto == KCM_SK_UDP) {
		udp_count(ctx, &p, hot, in, NULL, 0);
		return 1;
	}
	in->rx_segs += ctx->gso_segs > 1 ? ctx->gso_segs : 1;
	in->last_ns = bpf_ktime_get_coarse_ns();
	if (p.fin && !(hot->flags & KCM_SKF_RX_FIN)) {
		in->rx_fin = p.seq + p.len;
		flags_set(hot, KCM_SKF_RX_FIN);
	}
	if (!p.len || !(hot->flags & KCM_SKF_RX_BASE))
		return 1;
	if (hot->frame && !(hot->frame_dead & 2)) {
		frame_args(ctx, &p, slot);
		frame_call(ctx, &kcm_sk_rx, hot->frame);
		frame_gone(hot, more ?: slot_more(slot), 2);
	}
	rx_count(hot, in, &p);
	return 1;
}
