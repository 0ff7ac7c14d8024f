// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * reuseport.bpf.c - SO_REUSEPORT for programs of a cgroup that can't ask for it themselves.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

#define SOL_SOCKET   1
#define SO_REUSEPORT 15

char LICENSE[] SEC("license") = "Dual BSD/GPL";

static __always_inline int reuse(struct bpf_sock_addr *ctx)
{
	int one = 1;

	if (ctx->user_port)
		bpf_setsockopt(ctx, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
	return 1;
}

SEC("cgroup/bind4")
int reuseport_bind4(struct bpf_sock_addr *ctx)
{
	return reuse(ctx);
}

SEC("cgroup/bind6")
int reuseport_bind6(struct bpf_sock_addr *ctx)
{
	return reuse(ctx);
}
