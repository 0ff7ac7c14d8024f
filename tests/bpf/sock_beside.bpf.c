// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* sock_beside.bpf.c - programs as other people have them on their cgroups. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "GPL";

#define STORE(n)                                       \
	struct {                                       \
		__uint(type, BPF_MAP_TYPE_SK_STORAGE); \
		__uint(map_flags, BPF_F_NO_PREALLOC);  \
		__type(key, int);                      \
		__type(value, __u64);                  \
	} store##n SEC(".maps")

STORE(0);
STORE(1);
STORE(2);
STORE(3);
STORE(4);
STORE(5);
STORE(6);
STORE(7);
STORE(8);
STORE(9);
STORE(10);
STORE(11);
STORE(12);
STORE(13);
STORE(14);
STORE(15);
STORE(16);
STORE(17);
STORE(18);
STORE(19);

static __always_inline void touch(void *map, struct bpf_sock *sk)
{
	__u64 *n = bpf_sk_storage_get(map, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);

	if (n)
		(*n)++;
}

/* More storages of a socket than the kernel has cache places for. */
SEC("cgroup_skb/egress")
int other_store(struct __sk_buff *ctx)
{
	struct bpf_sock *sk = ctx->sk;

	if (!sk)
		return 1;
	touch(&store0, sk);
	touch(&store1, sk);
	touch(&store2, sk);
	touch(&store3, sk);
	touch(&store4, sk);
	touch(&store5, sk);
	touch(&store6, sk);
	touch(&store7, sk);
	touch(&store8, sk);
	touch(&store9, sk);
	touch(&store10, sk);
	touch(&store11, sk);
	touch(&store12, sk);
	touch(&store13, sk);
	touch(&store14, sk);
	touch(&store15, sk);
	touch(&store16, sk);
	touch(&store17, sk);
	touch(&store18, sk);
	touch(&store19, sk);
	return 1;
}

static __always_inline int lucky(struct __sk_buff *ctx)
{
	/* Only long segments: those with nothing but flags may be resets. */
	return ctx->len < 100 || bpf_get_prandom_u32() % 50;
}

SEC("cgroup_skb/egress")
int other_out(struct __sk_buff *ctx)
{
	return lucky(ctx);
}

SEC("cgroup_skb/ingress")
int other_in(struct __sk_buff *ctx)
{
	return lucky(ctx);
}

SEC("cgroup/sock_create")
int other_create(struct bpf_sock *ctx)
{
	return 1;
}

SEC("cgroup/connect4")
int other_conn(struct bpf_sock_addr *ctx)
{
	return 1;
}

/* Asks for what it wants and forgets what others want. */
SEC("sockops")
int other_rtt(struct bpf_sock_ops *ctx)
{
	if (ctx->op == BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB ||
	    ctx->op == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB)
		bpf_sock_ops_cb_flags_set(ctx, BPF_SOCK_OPS_RTT_CB_FLAG);
	return 1;
}
