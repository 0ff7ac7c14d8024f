/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* migrate_bind.bpf.h - servers that don't ask for what migration needs get it all the same. */
#ifndef KCM_MIGRATE_BIND_BPF_H
#define KCM_MIGRATE_BIND_BPF_H

#define MG_SOL_SOCKET	1
#define MG_SO_REUSEPORT 15

static __always_inline int bind_shared(struct bpf_sock_addr *ctx)
{
	int one = 1;

	if (ctx->user_port == bpf_htons(kcm_mg_conf.port) && ctx->protocol == kcm_mg_conf.protocol)
		bpf_setsockopt(ctx, MG_SOL_SOCKET, MG_SO_REUSEPORT, &one, sizeof(one));
	return 1;
}

SEC("cgroup/bind4")
int kcm_mg_bind4(struct bpf_sock_addr *ctx)
{
	return bind_shared(ctx);
}

SEC("cgroup/bind6")
int kcm_mg_bind6(struct bpf_sock_addr *ctx)
{
	return bind_shared(ctx);
}

#endif
