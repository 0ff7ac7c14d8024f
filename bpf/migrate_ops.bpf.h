/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* migrate_ops.bpf.h - sockops: listeners open and close, a probe connection is established. */
#ifndef KCM_MIGRATE_OPS_BPF_H
#define KCM_MIGRATE_OPS_BPF_H

/* What of a new listener its socket says. */
static __always_inline void new_from_sock(struct mg_new *d, struct tcp_sock *tp)
{
	struct sock *sk = (struct sock *)tp;
	struct sock_common *skc = &sk->__sk_common;

	d->sk = addr_of_sk(tp);
	d->netns_cookie = BPF_CORE_READ(skc, skc_net.net, net_cookie);
	d->now_ns = bpf_ktime_get_ns();
	d->key.cgroup_id = BPF_CORE_READ(sk, sk_cgrp_data.cgroup, kn, id);
	d->family = BPF_CORE_READ(skc, skc_family);
	if (d->family == KCM_AF_INET6) {
		bpf_core_read(d->addr, 16, &skc->skc_v6_rcv_saddr);
		d->v6only = BPF_CORE_READ_BITFIELD_PROBED(skc, skc_ipv6only);
	} else {
		bpf_core_read(d->addr, 4, &skc->skc_rcv_saddr);
	}
	d->ifindex = BPF_CORE_READ(skc, skc_bound_dev_if);
	d->uid = BPF_CORE_READ(sk, sk_uid.val);
	d->backlog = BPF_CORE_READ(sk, sk_max_ack_backlog);
	d->kind = kcm_mg_kind(d->sk);
	if (d->kind & KCM_MG_KIND_MPTCP)
		d->why = KCM_MGW_MPTCP;
}

static __always_inline void ops_listen(struct bpf_sock_ops *ctx, struct kcm_mg *mg)
{
	struct bpf_sock *sk = ctx->sk;
	struct task_struct *task;
	struct mg_new d = {};
	struct tcp_sock *tp;

	if (!sk)
		return;
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp)
		return;
	d.cookie = bpf_get_socket_cookie(ctx);
	/* An anchor of the keeper, or listen() once more for another backlog. */
	if (bpf_map_lookup_elem(&kcm_mg_index, &d.cookie))
		return;
	new_from_sock(&d, tp);
	task = (void *)bpf_get_current_task();
	who_is(task, &d.key);
	d.pid = BPF_CORE_READ(task, tgid);
	bpf_core_read(d.comm, sizeof(d.comm), &task->comm);
	if (!d.why && bpf_sock_hash_update(ctx, &kcm_mg_socks, &d.cookie, BPF_ANY))
		d.why = KCM_MGW_SOCKS;
	if (listener_opens(mg, &d))
		return;
	bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
}

/* A connection that proves a generation is in the accept queue: see probe_look(). */
static __always_inline void ops_established(struct bpf_sock_ops *ctx, struct kcm_mg *mg)
{
	__u32 v4 = ctx->remote_ip4, v6 = ctx->remote_ip6[3], peer;

	/* Both are read: one load from a chosen place would be of a modified context pointer. */
	barrier_var(v4);
	barrier_var(v6);
	peer = (ctx->family == KCM_AF_INET ? v4 : v6) ^ bpf_ntohl(ctx->remote_port) << 16;
	for (int i = 0; i < KCM_MG_GROUPS; i++) {
		struct kcm_mg_group *g = &mg->group[i];
		struct kcm_mg_gen *gen;

		if (g->next == KCM_MG_NONE || !(g->flags & KCM_MG_GROUP_USED))
			continue;
		gen = gen_at(g, g->next);
		if (gen->probe_peer == peer)
			__sync_val_compare_and_swap(&gen->probe_state, KCM_MG_PROBE_GIVEN,
						    KCM_MG_PROBE_QUEUED);
	}
}

SEC("sockops")
int kcm_mg_ops(struct bpf_sock_ops *ctx)
{
	__u32 op = ctx->op;
	struct kcm_mg *mg;

	if (ctx->local_port != kcm_mg_conf.port)
		return 1;
	if (op != BPF_SOCK_OPS_TCP_LISTEN_CB && op != BPF_SOCK_OPS_STATE_CB &&
	    op != BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB)
		return 1;
	mg = mg_state();
	if (!mg)
		return 1;
	if (op == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB) {
		if (mg->ctl.probing)
			ops_established(ctx, mg);
	} else if (op == BPF_SOCK_OPS_TCP_LISTEN_CB) {
		ops_listen(ctx, mg);
	} else if (ctx->args[0] == BPF_TCP_LISTEN) {
		listener_closes(mg, bpf_get_socket_cookie(ctx));
	}
	return 1;
}

#endif
