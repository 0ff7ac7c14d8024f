/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* migrate_ops.bpf.h - sockops: listeners open and close, a probe connection is established. */
#ifndef KCM_MIGRATE_OPS_BPF_H
#define KCM_MIGRATE_OPS_BPF_H

/* What of a new listener its socket says. */
static __always_inline void new_from_sock(struct mg_new *d, struct tcp_sock *tp)
{
	struct sock *sk = (struct sock *)tp;

	d->sk = addr_of_sk(tp);
	new_from_sk(d, sk);
	d->backlog = BPF_CORE_READ(sk, sk_max_ack_backlog);
	d->kind = kcm_mg_kind(d->sk);
	if (d->kind & KCM_MG_KIND_MPTCP)
		d->why = KCM_MGW_MPTCP;
}

/* It is in no generation: the selector shall not find it. */
static __always_inline int tcp_opens(struct kcm_mg *mg, struct mg_new *d)
{
	if (!listener_opens(mg, d))
		return 0;
	bpf_map_delete_elem(&kcm_mg_socks, &d->cookie);
	return -1;
}

static __always_inline void ops_listen(struct bpf_sock_ops *ctx, struct kcm_mg *mg)
{
	struct bpf_sock *sk = ctx->sk;
	struct kcm_mg_said *said;
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
	if (is_known(mg, &d))
		return;
	new_from_sock(&d, tp);
	said = bpf_sk_storage_get(&kcm_mg_said, sk, 0, 0);
	if (said)
		d.said = *said;
	task = (void *)bpf_get_current_task();
	who_is(task, &d.key);
	d.pid = BPF_CORE_READ(task, tgid);
	bpf_core_read(d.comm, sizeof(d.comm), &task->comm);
	if (!d.why && bpf_sock_hash_update(ctx, &kcm_mg_socks, &d.cookie, BPF_ANY))
		d.why = KCM_MGW_SOCKS;
	if (tcp_opens(mg, &d))
		return;
	bpf_sock_map_update(ctx, &kcm_mg_seats, &d.slot, BPF_ANY);
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
		if (mg->ctl.announce)
			announce(mg); /* the connection that was sent there */
	} else if (op == BPF_SOCK_OPS_TCP_LISTEN_CB) {
		ops_listen(ctx, mg);
	} else if (ctx->args[0] == BPF_TCP_LISTEN) {
		listener_closes(mg, bpf_get_socket_cookie(ctx));
	}
	return 1;
}

/* EPERM for MPTCP: what asks for it falls back to TCP. */
SEC("cgroup/sock_create")
int kcm_mg_plain(struct bpf_sock *ctx)
{
	return ctx->protocol != MG_PROTO_MPTCP;
}

#endif
