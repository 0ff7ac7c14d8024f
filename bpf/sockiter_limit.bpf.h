/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* sockiter_limit.bpf.h - rules for connections that are there already, and the end of all limits.
 */
#ifndef KCM_SOCKITER_LIMIT_BPF_H
#define KCM_SOCKITER_LIMIT_BPF_H

/* State of a socket that an iterator shows. Return: 0 or -1. */
static __always_inline int limit_find(struct sock_common *skc, __u64 cookie, struct kcm_sk_ref *ref)
{
	struct kcm_sk_store *store;

	if (!slot_ref(cookie, ref))
		return ref->more ? 0 : -1;
	store = bpf_sk_storage_get(&kcm_sk_store, skc, 0, 0);
	if (!store || store->hot.state == KCM_SK_NEW || store->hot.role == KCM_ROLE_LISTENER)
		return -1;
	store_ref(store, ref);
	return 0;
}

static __always_inline int limit_each(struct bpf_iter__tcp *ctx, int lift)
{
	struct sock_common *skc = ctx->sk_common;
	struct kcm_sk_sweep *sweep = sweep_get();
	struct kcm_sk_ref ref;
	struct tcp_sock *tp;
	__u64 cookie;
	__u32 at = 0;
	__u8 was;

	tp = skc && sweep ? bpf_skc_to_tcp_sock(skc) : NULL;
	if (!tp)
		return 0;
	cookie = bpf_get_socket_cookie(skc);
	if (limit_find(skc, cookie, &ref))
		return 0;
	if (!lift && rules_used())
		at = kcm_rule_find(ref.hot, &ref.more->info, cookie);
	was = ref.hot->limit;
	limit_switch(skc, NULL, ref.hot, ref.more, at);
	if (was || ref.hot->limit)
		__sync_fetch_and_add(&sweep->limited, 1);
	return 0;
}

SEC("iter/tcp")
int kcm_sk_relimit(struct bpf_iter__tcp *ctx)
{
	return limit_each(ctx, 0);
}

SEC("iter/tcp")
int kcm_sk_unlimit(struct bpf_iter__tcp *ctx)
{
	return limit_each(ctx, 1);
}

#endif
