/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sockiter_adopt.bpf.h - sweeps: state for sockets that are older than the programs.
 *
 * The TCP iterator holds the lock of the socket it shows, and sockops callbacks of a socket run
 * under the same lock: who finds no state and makes it is alone. The UDP iterator holds it from
 * 6.5 on only; UDP sockets get no slot here, and the second look after making state finds a
 * connect() that came between.
 */
#ifndef KCM_SOCKITER_ADOPT_BPF_H
#define KCM_SOCKITER_ADOPT_BPF_H

#define KCM_SOL_TCP	       6
#define KCM_TCP_SOCK_OPS_FLAGS 1008 /* TCP_BPF_SOCK_OPS_CB_FLAGS, from 6.12 on */
#define KCM_CGROUP_DEPTH       64

/* Is the socket in one of the cgroups, or below? */
static __always_inline int adopt_ours(const struct sock *sk, const struct kcm_sk_sweep *sweep)
{
	struct cgroup *cgrp = sk->sk_cgrp_data.cgroup;

	if (!sweep->cgroups)
		return 1;
	for (int depth = 0; depth < KCM_CGROUP_DEPTH && cgrp; depth++) {
		struct cgroup_subsys_state *parent;
		__u64 id = cgrp->kn->id;

		if (bpf_map_lookup_elem(&kcm_sk_cgroups, &id))
			return 1;
		parent = cgrp->self.parent;
		if (!parent)
			return 0;
		cgrp = parent->cgroup;
	}
	return 0;
}

static __always_inline void addr_copy(__u8 dst[16], const struct in6_addr *src)
{
	for (int i = 0; i < 4; i++)
		((__u32 *)dst)[i] = src->in6_u.u6_addr32[i];
}

static __always_inline void adopt_identity(const struct sock *sk, __u32 uid, __u8 proto,
					   __u64 cookie, struct kcm_sk_store *store)
{
	const struct sock_common *skc = &sk->__sk_common;
	struct kcm_sk_info *info = &store->more.info;

	store->hot.tag = cookie;
	store->hot.proto = proto;
	store->hot.frame = 0; /* it is in the midst of a message, who knows where */
	store->in.last_ns = bpf_ktime_get_coarse_ns();
	info->uid = uid;
	info->netns_cookie = skc->skc_net.net->net_cookie;
	info->cgroup_id = sk->sk_cgrp_data.cgroup->kn->id;
	info->family = skc->skc_family;
	info->lport = skc->skc_num;
	info->rport = bpf_ntohs(skc->skc_dport);
	if (info->family == KCM_AF_INET6) {
		addr_copy(info->laddr, &skc->skc_v6_rcv_saddr);
		addr_copy(info->raddr, &skc->skc_v6_daddr);
	} else {
		*(__u32 *)info->laddr = skc->skc_rcv_saddr;
		*(__u32 *)info->raddr = skc->skc_daddr;
	}
	/* No file: nobody has it any more, or accept() has not been called yet. Loads by BTF of a
	 * NULL pointer give 0. */
	info->reserved[KCM_INFO_INODE] = sk->sk_socket->file->f_inode->i_ino;
}

static __always_inline int rx_has_fin(__u8 state)
{
	return state == KCM_SK_CLOSE_WAIT || state == KCM_SK_LAST_ACK || state == KCM_SK_CLOSING;
}

/* What the kernel knows of the connection's past. Its state is written last, by who calls this:
 * until then the programs leave the storage alone. */
static __always_inline void adopt_past(const struct tcp_sock *tp, __u8 state,
				       struct kcm_sk_store *store)
{
	struct kcm_sk_hot *hot = &store->hot;
	struct kcm_sk_in *in = &store->in;
	struct kcm_sk_info *info = &store->more.info;
	__u32 rtt_min = tp->rtt_min.s[0].v;

	hot->flags = KCM_SKF_ADOPTED | KCM_SKF_TX_BASE;
	hot->tx_seq = tp->snd_nxt;
	if (state == KCM_SK_SYN_SENT)
		return; /* its other numbers are taken when it is established */
	hot->flags |= KCM_SKF_RX_BASE;
	hot->tx_bytes = tp->bytes_sent - tp->bytes_retrans;
	in->rx_bytes = tp->bytes_received;
	in->rx_base = tp->rcv_nxt - (__u32)in->rx_bytes;
	if (rx_has_fin(state)) { /* it counts as a byte there */
		in->rx_bytes--;
		in->rx_fin = tp->rcv_nxt - 1;
		hot->flags |= KCM_SKF_RX_FIN;
	}
	hot->tx_segs = tp->segs_out;
	in->rx_segs = tp->segs_in;
	info->srtt_us = tp->srtt_us >> 3;
	info->min_rtt_us = rtt_min == ~0U ? 0 : rtt_min;
	info->retrans = tp->total_retrans;
	info->cwnd = tp->snd_cwnd;
	info->mss = tp->mss_cache;
	if (tp->rate_interval_us)
		info->rate_bytes =
			(__u64)tp->rate_delivered * tp->mss_cache * 1000000 / tp->rate_interval_us;
}

/*
 * Who has a slot must be told of TCP_CLOSE, or it would never be free again: where the kernel does
 * not let us ask for the callback, the state stays on the socket. Return: 0 or -1.
 */
static __always_inline int adopt_slot(struct sock_common *skc, const struct tcp_sock *tp,
				      struct kcm_sk_store *store, __u64 cookie, __u8 state)
{
	int flags = tp->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG;
	struct kcm_sk_ref ref;
	int claimed;

	if (bpf_setsockopt(skc, KCM_SOL_TCP, KCM_TCP_SOCK_OPS_FLAGS, &flags, sizeof(flags)))
		return -1;
	claimed = kcm_slot_claim(cookie);
	if (claimed < 0) {
		CTL_ADD(beyond, 1);
		return -1;
	}
	if (slot_take(claimed, &ref))
		return -1;
	slot_fill(&ref, store);
	ref.hot->state = state;
	slot_publish(ref.hot, cookie);
	bpf_sk_storage_delete(&kcm_sk_store, skc);
	return 0;
}

static __always_inline void adopt_met(struct kcm_sk_info *info, const struct kcm_sk_sweep *sweep)
{
	__u64 inode = info->reserved[KCM_INFO_INODE];
	struct kcm_sk_owner *owner;

	info->reserved[KCM_INFO_SWEEP] = sweep->number;
	if (info->pid || !inode)
		return;
	owner = bpf_map_lookup_elem(&kcm_sk_owners, &inode);
	if (!owner)
		return;
	info->pid = owner->pid;
	__builtin_memcpy(info->comm, owner->comm, sizeof(info->comm));
}

/* State of @cookie that is there already. Return: 1 if it is. */
static __always_inline int adopt_known(struct kcm_sk_store *store, __u64 cookie,
				       const struct kcm_sk_sweep *sweep)
{
	struct kcm_sk_more *more;
	__u32 slot;

	if (slot_find(cookie, &slot)) {
		more = slot_more(slot);
		if (more)
			adopt_met(&more->info, sweep);
		return 1;
	}
	if (!store || store->hot.state == KCM_SK_NEW)
		return 0;
	adopt_met(&store->more.info, sweep);
	return 1;
}

static __always_inline void adopt_listener(struct kcm_sk_store *store, struct kcm_sk_sweep *sweep)
{
	store->hot.state = KCM_SK_LISTEN;
	store->hot.role = KCM_ROLE_LISTENER;
	store->hot.flags = KCM_SKF_ADOPTED;
	store->more.info.rport = 0;
	__sync_fetch_and_add(&sweep->listeners, 1);
}

SEC("iter/tcp")
int kcm_sk_adopt_tcp(struct bpf_iter__tcp *ctx)
{
	struct sock_common *skc = ctx->sk_common;
	struct kcm_sk_sweep *sweep = sweep_get();
	struct kcm_sk_lport port = {};
	__u64 cookie, session = ctx->meta->session_id, *met;
	struct kcm_sk_store *store;
	struct tcp_sock *tp;
	struct sock *sk;
	__u8 state;

	if (!sweep)
		return 0;
	if (!skc) {
		BPF_SEQ_PRINTF(ctx->meta->seq, "%llu adopted since load\n", sweep->adopted);
		return 0;
	}
	tp = bpf_skc_to_tcp_sock(skc);
	if (!tp) /* TIME_WAIT, or half a handshake */
		return 0;
	sk = (struct sock *)tp;
	state = skc->skc_state;
	port.netns_cookie = skc->skc_net.net->net_cookie;
	port.port = skc->skc_num;
	if (state == KCM_SK_LISTEN) /* the iterator shows them first */
		bpf_map_update_elem(&kcm_sk_lports, &port, &session, BPF_ANY);
	if (!adopt_ours(sk, sweep))
		return 0;
	__sync_fetch_and_add(&sweep->met, 1);
	cookie = bpf_get_socket_cookie(skc);
	store = bpf_sk_storage_get(&kcm_sk_store, skc, 0, 0);
	if (adopt_known(store, cookie, sweep))
		return 0;
	if (!store)
		store = bpf_sk_storage_get(&kcm_sk_store, skc, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!store) {
		CTL_ADD(no_storage, 1);
		__sync_fetch_and_add(&sweep->refused, 1);
		return 0;
	}
	adopt_identity(sk, ctx->uid, KCM_SK_TCP, cookie, store);
	store->more.info.reserved[KCM_INFO_SWEEP] = sweep->number;
	__sync_fetch_and_add(&sweep->adopted, 1);
	CTL_ADD(adopted, 1);
	if (state == KCM_SK_LISTEN) {
		adopt_listener(store, sweep);
		return 0;
	}
	met = bpf_map_lookup_elem(&kcm_sk_lports, &port);
	store->hot.role = state != KCM_SK_SYN_SENT && met && *met == session ? KCM_ROLE_SERVER
									     : KCM_ROLE_CLIENT;
	adopt_past(tp, state, store);
	if (adopt_slot(skc, tp, store, cookie, state)) {
		__sync_fetch_and_add(&sweep->unslotted, 1); /* a barrier, too */
		store->hot.state = state;
	}
	return 0;
}

SEC("iter/udp")
int kcm_sk_adopt_udp(struct bpf_iter__udp *ctx)
{
	struct udp_sock *up = ctx->udp_sk;
	struct kcm_sk_sweep *sweep = sweep_get();
	struct kcm_sk_store *store;
	struct sock *sk;
	__u64 cookie;
	__u32 slot;

	if (!sweep || !up)
		return 0;
	sk = (struct sock *)up;
	/* Connected ones, of UDP; the iterator shows UDP-Lite too. */
	if (sk->sk_protocol != KCM_SK_UDP || sk->__sk_common.skc_state != KCM_SK_ESTABLISHED ||
	    !adopt_ours(sk, sweep))
		return 0;
	__sync_fetch_and_add(&sweep->met, 1);
	cookie = bpf_get_socket_cookie(sk);
	store = bpf_sk_storage_get(&kcm_sk_store, sk, 0, 0);
	if (adopt_known(store, cookie, sweep))
		return 0;
	if (!store)
		store = bpf_sk_storage_get(&kcm_sk_store, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!store) {
		CTL_ADD(no_storage, 1);
		__sync_fetch_and_add(&sweep->refused, 1);
		return 0;
	}
	adopt_identity(sk, ctx->uid, KCM_SK_UDP, cookie, store);
	store->more.info.reserved[KCM_INFO_SWEEP] = sweep->number;
	store->hot.role = KCM_ROLE_CLIENT;
	store->hot.flags = KCM_SKF_ADOPTED | KCM_SKF_TX_BASE; /* the addresses are known */
	if (slot_find(cookie, &slot)) {			      /* connect() meanwhile */
		bpf_sk_storage_delete(&kcm_sk_store, sk);
		return 0;
	}
	__sync_fetch_and_add(&sweep->adopted, 1);
	store->hot.state = KCM_SK_ESTABLISHED;
	__sync_fetch_and_add(&sweep->unslotted, 1);
	CTL_ADD(adopted, 1);
	return 0;
}

#endif
