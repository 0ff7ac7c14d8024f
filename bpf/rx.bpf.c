// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * rx.bpf.c - segments of whole pages, for programs that know nothing of it.
 *
 *	kcm_rx_ops	sockops: a socket listens, or is about to connect
 *	kcm_rx_adopt	iter/tcp: listeners that were there before, and what untune takes back
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_tracing.h>
#include "rx.h"

#define KCM_SOL_TCP	   6
#define KCM_TCP_MAXSEG	   2
#define KCM_LISTEN	   10
#define KCM_CGROUP_DEPTH   64
#define KCM_WINDOW_SEGS(p) (15 / (p)) /* whole ones in the 65,535 bytes a SYN-ACK can tell */

/*
 * kcm_rx - what an instance does, and how often it did.
 * Key: 0. Value: one. Written and read as struct kcm_rx_tune says. Lifetime: of the pin.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct kcm_rx_tune);
} kcm_rx SEC(".maps");

static __always_inline struct kcm_rx_tune *tune(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&kcm_rx, &zero);
}

static __always_inline void set_mss(struct bpf_sock_ops *ctx, struct kcm_rx_tune *t, __u64 *count)
{
	int mss = t->mss;

	if (bpf_setsockopt(ctx, KCM_SOL_TCP, KCM_TCP_MAXSEG, &mss, sizeof(mss)))
		__sync_fetch_and_add(&t->refused, 1);
	else
		__sync_fetch_and_add(count, 1);
}

SEC("sockops")
int kcm_rx_ops(struct bpf_sock_ops *ctx)
{
	struct kcm_rx_tune *t = tune();

	if (!t || !t->mss)
		return 1;
	if (ctx->local_port != t->port) {
		if (t->connect && ctx->op == BPF_SOCK_OPS_TCP_CONNECT_CB &&
		    bpf_ntohl(ctx->remote_port) == t->port)
			set_mss(ctx, t, &t->connects);
		return 1;
	}
	switch (ctx->op) {
	case BPF_SOCK_OPS_TCP_LISTEN_CB:
		set_mss(ctx, t, &t->listeners);
		break;
	case BPF_SOCK_OPS_RWND_INIT:
		if (t->pages)
			ctx->reply = KCM_WINDOW_SEGS(t->pages);
		break;
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		__sync_fetch_and_add(&t->connections, 1);
		break;
	}
	return 1;
}

/* Is the socket in the instance's cgroup, or below? */
static __always_inline int ours(const struct sock *sk, __u64 id)
{
	struct cgroup *cgrp = sk->sk_cgrp_data.cgroup;

	if (!id)
		return 1;
	for (int depth = 0; depth < KCM_CGROUP_DEPTH && cgrp; depth++) {
		struct cgroup_subsys_state *parent;

		if (cgrp->kn->id == id)
			return 1;
		parent = cgrp->self.parent;
		if (!parent)
			return 0;
		cgrp = parent->cgroup;
	}
	return 0;
}

SEC("iter/tcp")
int kcm_rx_adopt(struct bpf_iter__tcp *ctx)
{
	struct sock_common *skc = ctx->sk_common;
	struct kcm_rx_tune *t = tune();
	struct tcp_sock *tp;
	__u32 mss, now = 0;

	if (!skc || !t || skc->skc_state != KCM_LISTEN || skc->skc_num != t->port)
		return 0;
	tp = bpf_skc_to_tcp_sock(skc);
	if (!tp || !ours((struct sock *)tp, t->cgroup_id))
		return 0;
	mss = t->mss;
	if (bpf_getsockopt(skc, KCM_SOL_TCP, KCM_TCP_MAXSEG, &now, sizeof(now)))
		now = 0;
	/* Whoever looks again counts nobody twice; untune takes back only what we have set. */
	if (mss ? now == mss : now != t->was)
		return 0;
	if (bpf_setsockopt(skc, KCM_SOL_TCP, KCM_TCP_MAXSEG, &mss, sizeof(mss)))
		__sync_fetch_and_add(&t->refused, 1);
	else if (mss)
		__sync_fetch_and_add(&t->adopted, 1);
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
