/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* sock_opt.bpf.h - a program's own sockets: labels, generation, counters. See opt.bpf.h. */
#ifndef KCM_SOCK_OPT_BPF_H
#define KCM_SOCK_OPT_BPF_H

#include <bpf/bpf_core_read.h>
#include "opt.bpf.h"

#define KCM_LABEL_TEXT (KCM_SK_KEY - 1 + 1 + KCM_SK_VALUE - 1)

/* There is no helper for it in these programs. */
static __always_inline __u64 opt_cookie(struct bpf_sock *sk)
{
	struct bpf_sock *volatile spilled = sk;
	__u64 at = 0, cookie = 0;

	bpf_probe_read_kernel(&at, sizeof(at), (void *)&spilled);
	at += bpf_core_field_offset(struct sock, __sk_common) +
	      bpf_core_field_offset(struct sock_common, skc_cookie);
	bpf_probe_read_kernel(&cookie, sizeof(cookie), (void *)at);
	return cookie;
}

static __always_inline int opt_kept(const struct bpf_sock *sk)
{
	return (sk->family == KCM_AF_INET || sk->family == KCM_AF_INET6) &&
	       (sk->protocol == KCM_SK_TCP || sk->protocol == KCM_SK_UDP);
}

/* Where its state is. A socket that has none, being older than the programs, gets it with @make. */
static __always_inline int opt_find(struct bpf_sock *sk, int make, struct kcm_sk_ref *ref,
				    __u64 *cookie)
{
	struct kcm_sk_store *store;

	*cookie = opt_cookie(sk);
	if (*cookie && !slot_ref(*cookie, ref))
		return ref->in && ref->more ? 0 : -KCM_ENOMEM;
	store = bpf_sk_storage_get(&kcm_sk_store, sk, 0, 0);
	if (!store) {
		if (!make)
			return -KCM_ENODATA;
		store = bpf_sk_storage_get(&kcm_sk_store, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
		if (!store) {
			CTL_ADD(no_storage, 1);
			return -KCM_ENOMEM;
		}
		store->hot.tag = *cookie;
		store->hot.proto = sk->protocol;
		store->more.info.family = sk->family;
	}
	store_ref(store, ref);
	return 0;
}

/* "key=value" to a label. Return: 0 or -EINVAL. */
static __always_inline int opt_label(struct bpf_sockopt *ctx, struct kcm_sk_label *label)
{
	__u8 *p = ctx->optval, *end = ctx->optval_end;
	__u32 n = ctx->optlen, key = 0, value = 0, equals = 0;

	__builtin_memset(label, 0, sizeof(*label));
	for (__u32 i = 0; i < KCM_LABEL_TEXT + 2; i++) {
		__u8 c;

		if (i >= n)
			break;
		if (p + i + 1 > end)
			return -KCM_EINVAL;
		c = p[i];
		if (!c && i + 1 == n)
			break; /* the NUL of a string */
		if (c < ' ' || c > '~')
			return -KCM_EINVAL;
		if (!equals && c == '=') {
			equals = 1;
			continue;
		}
		if (equals) {
			if (value >= KCM_SK_VALUE - 1)
				return -KCM_EINVAL;
			label->value[value++] = c;
		} else {
			if (key >= KCM_SK_KEY - 1 || c == ' ')
				return -KCM_EINVAL;
			label->key[key++] = c;
		}
	}
	return key && equals && n <= KCM_LABEL_TEXT + 1 ? 0 : -KCM_EINVAL;
}

static __always_inline int opt_set(struct bpf_sockopt *ctx, struct bpf_sock *sk)
{
	__u8 *p = ctx->optval, *end = ctx->optval_end;
	struct kcm_sk_label label;
	struct kcm_sk_ref ref;
	__u32 generation = 0;
	__u64 cookie;
	int err;

	if (ctx->optname == KCM_SO_LABEL) {
		err = opt_label(ctx, &label);
		if (err)
			return err;
	} else {
		if (ctx->optlen != 4 || p + 4 > end)
			return -KCM_EINVAL;
		generation = *(__u32 *)p;
	}
	err = opt_find(sk, 1, &ref, &cookie);
	if (err)
		return err;
	if (ctx->optname == KCM_SO_GENERATION) {
		ref.more->info.generation = generation;
		return 0;
	}
	err = kcm_label_set(&ref.more->info, &label);
	if (err || !rules_used() || ref.hot->state != KCM_SK_ESTABLISHED)
		return err;
	/* A limit for sockets that have this label. */
	if (sk->protocol == KCM_SK_UDP)
		rules_apply_udp(ref.hot, ref.more, cookie);
	else
		limit_switch(sk, NULL, ref.hot, ref.more,
			     kcm_rule_find(ref.hot, &ref.more->info, cookie));
	return 0;
}

SEC("cgroup/setsockopt")
int kcm_sk_setopt(struct bpf_sockopt *ctx)
{
	struct bpf_sock *sk;
	int err;

	if (ctx->level != KCM_SOL_KCM) {
		opt_pass(ctx);
		return 1;
	}
	sk = ctx->sk;
	/* Below 0: a program of a cgroup further down has done it. */
	if (!sk || !opt_kept(sk) || ctx->optlen < 0 ||
	    (ctx->optname != KCM_SO_LABEL && ctx->optname != KCM_SO_GENERATION))
		return 1; /* the kernel says ENOPROTOOPT */
	err = opt_set(ctx, sk);
	if (err)
		opt_result(err);
	ctx->optlen = -1; /* not for the kernel */
	return 1;
}

static __always_inline int opt_state(struct bpf_sockopt *ctx, struct bpf_sock *sk)
{
	struct kcm_sk_ref ref;
	struct kcm_sock *s;
	__u64 cookie;
	int err = opt_find(sk, 0, &ref, &cookie);

	if (err)
		return err;
	s = ctx->optval;
	if ((void *)(s + 1) > ctx->optval_end)
		return -KCM_EINVAL;
	/* The pointer that was checked is the one that is used. */
	asm volatile("" : "+r"(s));
	sock_view(s, ref.hot, ref.in, ref.more, cookie, ref.slot);
	ctx->optlen = sizeof(*s);
	return label_copy(&s->info, &ref.more->info);
}

static __always_inline int opt_generation(struct bpf_sockopt *ctx, struct bpf_sock *sk)
{
	__u32 *p = ctx->optval;
	struct kcm_sk_ref ref;
	__u64 cookie;
	int err;

	if ((void *)(p + 1) > ctx->optval_end)
		return -KCM_EINVAL;
	err = opt_find(sk, 0, &ref, &cookie);
	if (err)
		return err;
	*p = ref.more->info.generation;
	ctx->optlen = sizeof(*p);
	return 0;
}

SEC("cgroup/getsockopt")
int kcm_sk_getopt(struct bpf_sockopt *ctx)
{
	struct bpf_sock *sk;
	int err;

	if (ctx->level != KCM_SOL_KCM) {
		opt_pass(ctx);
		return 1;
	}
	sk = ctx->sk;
	if (!sk || !opt_kept(sk))
		return 1;
	if (ctx->optname == KCM_SO_STATE)
		err = opt_state(ctx, sk);
	else if (ctx->optname == KCM_SO_GENERATION)
		err = opt_generation(ctx, sk);
	else
		return 1;
	opt_result(err);
	return 1;
}

#endif
