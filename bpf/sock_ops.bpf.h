/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* sock_ops.bpf.h - the life of a TCP connection, told by sockops callbacks. */
#ifndef KCM_SOCK_OPS_BPF_H
#define KCM_SOCK_OPS_BPF_H

static __always_inline void ops_addrs(struct bpf_sock_ops *ctx, struct kcm_sk_info *info)
{
	info->family = ctx->family;
	info->lport = ctx->local_port;
	info->rport = bpf_ntohl(ctx->remote_port);
	if (ctx->family == KCM_AF_INET) {
		*(__u32 *)&info->laddr[0] = ctx->local_ip4;
		*(__u32 *)&info->raddr[0] = ctx->remote_ip4;
		return;
	}
	*(__u32 *)&info->laddr[0] = ctx->local_ip6[0];
	*(__u32 *)&info->laddr[4] = ctx->local_ip6[1];
	*(__u32 *)&info->laddr[8] = ctx->local_ip6[2];
	*(__u32 *)&info->laddr[12] = ctx->local_ip6[3];
	*(__u32 *)&info->raddr[0] = ctx->remote_ip6[0];
	*(__u32 *)&info->raddr[4] = ctx->remote_ip6[1];
	*(__u32 *)&info->raddr[8] = ctx->remote_ip6[2];
	*(__u32 *)&info->raddr[12] = ctx->remote_ip6[3];
}

/*
 * A connection begins: move its state from the storage, where sock_create (or the listener) left
 * it, to a slot; or make it there if the socket is older than the programs. With no slot free it
 * stays where it is.
 */
static __always_inline int conn_begin(struct bpf_sock_ops *ctx, struct bpf_sock *sk, __u64 cookie,
				      enum kcm_sk_role role, struct kcm_sk_ref *ref)
{
	struct kcm_sk_store *store =
		bpf_sk_storage_get(&kcm_sk_store, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	int slot;

	if (!store) {
		CTL_ADD(no_storage, 1);
		return -1;
	}
	store->hot.role = role;
	store->hot.proto = KCM_SK_TCP;
	store->hot.flags = 0; /* the listener's, or those of the time when it was one */
	store->more.info.start_ns = bpf_ktime_get_ns();
	ops_addrs(ctx, &store->more.info);
	if (!store->more.info.netns_cookie)
		store->more.info.netns_cookie = bpf_get_netns_cookie(ctx);
	slot = kcm_slot_claim(cookie);
	if (slot < 0) {
		store->hot.tag = cookie;
		store_ref(store, ref);
		if (role == KCM_ROLE_SERVER)
			label_settle(&store->more.info);
		CTL_ADD(beyond, 1);
		return 0;
	}
	if (slot_take(slot, ref))
		return -1;
	slot_fill(ref, store);
	label_move(&ref->more->info, &store->more.info);
	return 0;
}

static __always_inline void conn_state_cb(struct bpf_sock_ops *ctx)
{
	/* Others may have asked for callbacks of their own: theirs are kept. */
	bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
}

/* The storage is of no use once the slot is found by everybody. */
static __always_inline void conn_publish(struct bpf_sock *sk, __u64 cookie, struct kcm_sk_ref *ref)
{
	if (ref->slot == KCM_SK_SLOT_NONE)
		return;
	slot_publish(ref->hot, cookie);
	bpf_sk_storage_delete(&kcm_sk_store, sk);
}

static __always_inline void on_connect(struct bpf_sock_ops *ctx, struct bpf_sock *sk, __u64 cookie)
{
	struct kcm_sk_ref ref;
	__u32 slot;

	if (slot_find(cookie, &slot)) /* connect() again, after a failure */
		return;
	if (conn_begin(ctx, sk, cookie, KCM_ROLE_CLIENT, &ref))
		return;
	ref.hot->state = KCM_SK_SYN_SENT;
	conn_state_cb(ctx);
	conn_publish(sk, cookie, &ref);
}

static __always_inline void conn_bases(struct bpf_sock_ops *ctx, struct kcm_sk_ref *ref)
{
	struct kcm_sk_hot *hot = ref->hot;

	if (!(hot->flags & KCM_SKF_TX_BASE))
		hot->tx_seq = ctx->snd_nxt;
	ref->in->rx_base = ctx->rcv_nxt - ctx->bytes_received;
	flags_set(hot, KCM_SKF_TX_BASE | KCM_SKF_RX_BASE);
	hot->state = KCM_SK_ESTABLISHED;
}

static __always_inline void conn_sample(struct bpf_sock *sk, struct kcm_sk_ref *ref)
{
	struct bpf_tcp_sock *tp = bpf_tcp_sock(sk);

	if (tp)
		sample_tcp(tp, &ref->more->info);
}

/* Return: whether the socket is one that has called connect(). */
static __always_inline int on_active(struct bpf_sock_ops *ctx, struct bpf_sock *sk, __u64 cookie)
{
	struct kcm_sk_ref ref;

	if (slot_ref(cookie, &ref)) {
		struct kcm_sk_store *store = bpf_sk_storage_get(&kcm_sk_store, sk, 0, 0);

		if (!store || store->hot.role != KCM_ROLE_CLIENT)
			return 0;
		store_ref(store, &ref);
	}
	if (!ref.in || !ref.more)
		return 1;
	conn_bases(ctx, &ref);
	ops_addrs(ctx, &ref.more->info); /* bound to an address by now */
	ref.hot->frame = framing_of(ref.more->info.rport, KCM_SK_TCP);
	if (ref.more->info.start_ns)
		ref.more->info.connect_us = (bpf_ktime_get_ns() - ref.more->info.start_ns) / 1000;
	conn_sample(sk, &ref);
	rules_apply(ctx, ref.hot, ref.more, cookie);
	CTL_ADD(opened, 1);
	event_send(KCM_SKE_OPEN, &ref, cookie, 0);
	return 1;
}

static __always_inline void on_passive(struct bpf_sock_ops *ctx, struct bpf_sock *sk, __u64 cookie)
{
	struct kcm_sk_ref ref;

	if (conn_begin(ctx, sk, cookie, KCM_ROLE_SERVER, &ref))
		return;
	ref.hot->tx_segs = 0; /* the listener's SYN-ACKs */
	ref.in->rx_segs = 0;
	conn_bases(ctx, &ref);
	ref.hot->frame = framing_of(ref.more->info.lport, KCM_SK_TCP);
	early_take(ctx, &ref);
	conn_state_cb(ctx);
	conn_sample(sk, &ref);
	rules_apply(ctx, ref.hot, ref.more, cookie);
	CTL_ADD(opened, 1);
	event_send(KCM_SKE_OPEN, &ref, cookie, 0);
	conn_publish(sk, cookie, &ref);
}

static __always_inline void on_listen(struct bpf_sock_ops *ctx, struct bpf_sock *sk, __u64 cookie)
{
	struct kcm_sk_store *store =
		bpf_sk_storage_get(&kcm_sk_store, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);

	if (!store) {
		CTL_ADD(no_storage, 1);
		return;
	}
	store->hot.tag = cookie;
	store->hot.role = KCM_ROLE_LISTENER;
	store->hot.proto = KCM_SK_TCP;
	store->hot.state = KCM_SK_LISTEN;
	store->more.info.start_ns = bpf_ktime_get_ns();
	ops_addrs(ctx, &store->more.info);
	store->more.info.rport = 0;
	if (!store->more.info.netns_cookie)
		store->more.info.netns_cookie = bpf_get_netns_cookie(ctx);
}

/* tcp_reset() and tcp_write_err() set it before the state changes. */
static __always_inline __u32 conn_error(struct bpf_sock *sk)
{
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);

	return tp ? tp->inet_conn.icsk_inet.sk.sk_err : 0;
}

/* connect() failed: the program may try again with the same socket, and is still its owner. */
static __always_inline void conn_remember(struct bpf_sock *sk, __u64 cookie,
					  const struct kcm_sk_info *info)
{
	struct kcm_sk_store *store =
		bpf_sk_storage_get(&kcm_sk_store, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);

	if (!store)
		return;
	store->hot.tag = cookie;
	store->hot.proto = KCM_SK_TCP;
	store->more.info.family = info->family;
	store->more.info.pid = info->pid;
	store->more.info.uid = info->uid;
	__builtin_memcpy(store->more.info.comm, info->comm, sizeof(info->comm));
	store->more.info.cgroup_id = info->cgroup_id;
	store->more.info.netns_cookie = info->netns_cookie;
	store->more.info.generation = info->generation;
	__builtin_memcpy(store->more.info.label, info->label, sizeof(info->label));
}

static __always_inline void on_state(struct bpf_sock_ops *ctx, struct bpf_sock *sk, __u64 cookie)
{
	__u32 to = ctx->args[1];
	struct kcm_sk_ref ref;
	struct bpf_tcp_sock *tp;
	int failed;

	if (slot_ref(cookie, &ref)) {
		struct kcm_sk_store *store = bpf_sk_storage_get(&kcm_sk_store, sk, 0, 0);

		if (!store || store->hot.role == KCM_ROLE_LISTENER)
			return;
		store_ref(store, &ref);
	}
	if (!ref.in || !ref.more)
		return;
	ref.hot->state = to;
	tp = bpf_tcp_sock(sk);
	if (tp) {
		__u64 had = ref.in->rx_bytes;

		sample_tcp(tp, &ref.more->info);
		if (ref.hot->flags & KCM_SKF_RX_BASE)
			sample_rx(ref.hot, ref.in, tp->rcv_nxt);
		if (ref.in->rx_bytes != had && ref.hot->frame && !(ref.hot->frame_dead & 2))
			frame_missed(ref.hot, &ref.more->info);
	}
	if (to != KCM_SK_CLOSE)
		return;
	ref.more->info.err = conn_error(sk);
	if (tp && (ref.hot->flags & KCM_SKF_RX_BASE) && !(ref.hot->flags & KCM_SKF_ADOPTED)) {
		/* Segments that we counted and that TCP then refused, as after close(). */
		__s32 over = rx_next(ref.in) - tp->rcv_nxt;

		if (over > 0 && (__u64)over <= ref.in->rx_bytes) {
			ref.in->rx_bytes -= over;
			/* How many messages were in them nobody knows any more. */
			if (ref.hot->frame && !(ref.hot->frame_dead & 2))
				frame_missed(ref.hot, &ref.more->info);
		}
		ref.hot->tx_segs = tp->segs_out;
		ref.in->rx_segs = tp->segs_in;
	}
	/* A gap that was never filled: what was behind it is not counted. */
	if (stash_free_all(&ref.more->tx, cookie, 1, NULL) |
	    stash_free_all(&ref.more->rx, cookie, 0, NULL)) {
		ref.more->info.unframed = KCM_UNFRAMED_MISSED;
		CTL_ADD(unframed, 1);
	}
	failed = !(ref.hot->flags & KCM_SKF_RX_BASE); /* it was never established */
	if (failed) {
		CTL_ADD(failed, 1);
		event_send(KCM_SKE_FAIL, &ref, cookie, 0);
	} else {
		CTL_ADD(closed, 1);
		event_send(KCM_SKE_CLOSE, &ref, cookie, 0);
	}
	if (ref.slot == KCM_SK_SLOT_NONE) {
		if (failed) {
			ref.hot->state = KCM_SK_NEW;
			ref.hot->flags = 0;
			ref.hot->tx_bytes = 0; /* of TCP Fast Open */
			ref.hot->tx_segs = 0;
			ref.in->rx_segs = 0;
			ref.more->info.err = 0;
		} else {
			bpf_sk_storage_delete(&kcm_sk_store, sk);
		}
		return;
	}
	if (failed)
		conn_remember(sk, cookie, &ref.more->info);
	slot_release(ref.hot, ref.in);
}

/* Asked for by limits of messages only. */
static __always_inline void on_rtt(struct bpf_sock_ops *ctx, struct bpf_sock *sk, __u64 cookie)
{
	struct kcm_sk_ref ref;

	if (slot_ref(cookie, &ref)) {
		struct kcm_sk_store *store = bpf_sk_storage_get(&kcm_sk_store, sk, 0, 0);

		if (!store)
			return;
		store_ref(store, &ref);
	}
	if (ref.more)
		limit_rtt(ctx, ref.hot, ref.more);
}

SEC("sockops")
int kcm_sk_ops(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	__u32 op = ctx->op;
	__u64 cookie;

	if (!sk)
		return 1;
	cookie = bpf_get_socket_cookie(ctx);
	switch (op) {
	case BPF_SOCK_OPS_TCP_CONNECT_CB:
		on_connect(ctx, sk, cookie);
		break;
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		/* Where both SYNs crossed the kernel calls two clients passive. */
		if (!on_active(ctx, sk, cookie) && op == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB)
			on_passive(ctx, sk, cookie);
		break;
	case BPF_SOCK_OPS_TCP_LISTEN_CB:
		on_listen(ctx, sk, cookie);
		break;
	case BPF_SOCK_OPS_STATE_CB:
		on_state(ctx, sk, cookie);
		break;
	case BPF_SOCK_OPS_RTT_CB:
		on_rtt(ctx, sk, cookie);
		break;
	}
	return 1;
}

#endif
