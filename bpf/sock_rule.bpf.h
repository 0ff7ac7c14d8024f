/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* sock_rule.bpf.h - limits: which connections they are for, and how they are kept. */
#ifndef KCM_SOCK_RULE_BPF_H
#define KCM_SOCK_RULE_BPF_H

/* A connection is established: give it the limit of the first rule that matches. */
static __always_inline void rules_apply(struct bpf_sock_ops *ctx, struct kcm_sk_hot *hot,
					struct kcm_sk_more *more, __u64 cookie)
{
}

/* May a segment of @len payload bytes leave? Return: 1 or 0. Called for KCM_SKF_LIMIT only. */
static __always_inline int limit_egress(struct kcm_sk_hot *hot, struct kcm_sk_more *more, __u32 len)
{
	return 1;
}

#endif
