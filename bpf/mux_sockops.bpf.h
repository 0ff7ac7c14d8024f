/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* mux_sockops.bpf.h - attach connections of chosen ports when they are established. */
#ifndef KCM_MUX_SOCKOPS_BPF_H
#define KCM_MUX_SOCKOPS_BPF_H

/* Take connection slot @at if it is free. Return: 0, or -1. A function: verified once. */
__noinline int kcm_conn_take(__u32 at)
{
	struct kcm_conn *c = bpf_map_lookup_elem(&kcm_conn, &at);

	if (!c || c->state != KCM_CONN_FREE)
		return -1;
	if (__sync_val_compare_and_swap(&c->state, KCM_CONN_FREE, KCM_CONN_NEW) != KCM_CONN_FREE)
		return -1;
	return 0;
}

SEC("sockops")
int kcm_sockops(struct bpf_sock_ops *ctx)
{
	struct kcm_prod *p = prod_get();
	__u32 port = ctx->local_port, at, n = kcm_cfg.n_conns;
	struct kcm_conn *c;
	__u64 cookie;
	int slot = -1;

	if (ctx->op != BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB || !p)
		return 1;
	if (!bpf_map_lookup_elem(&kcm_ports, &port))
		return 1;
	at = p->conn_hint;
	for (int i = 0; i < 32 && slot < 0; i++) {
		at = at + 1 >= n ? 0 : at + 1;
		slot = kcm_conn_take(at);
	}
	if (slot < 0) {
		__sync_fetch_and_add(&p->open_fails, 1);
		return 1;
	}
	p->conn_hint = at;
	c = bpf_map_lookup_elem(&kcm_conn, &at);
	if (!c)
		return 1;
	cookie = bpf_get_socket_cookie(ctx);
	c->cookie = cookie;
	c->asm_chunk = 0;
	c->len_hint = 0;
	c->lane = at % KCM_LANES;
	__builtin_memset(&c->fs, 0, sizeof(c->fs));
	c->msgs = 0;
	c->bytes = 0;
	c->holds = 0;
	c->skbs = 0;
	c->overlaps = 0;
	c->seq_known = 0;
	c->open_ns = bpf_ktime_get_ns();
	*(volatile __u32 *)&c->state = KCM_CONN_ACTIVE;
	if (bpf_map_update_elem(&kcm_slots, &cookie, &at, BPF_NOEXIST) ||
	    bpf_sock_hash_update(ctx, &kcm_socks, &cookie, BPF_NOEXIST)) {
		bpf_map_delete_elem(&kcm_slots, &cookie);
		*(volatile __u32 *)&c->state = KCM_CONN_FREE;
		__sync_fetch_and_add(&p->open_fails, 1);
		return 1;
	}
	kcm_ring(KCM_OWNER_BELL, KCM_BELL_OPENED, at);
	return 1;
}

#endif
