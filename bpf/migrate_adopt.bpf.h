/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * migrate_adopt.bpf.h - listeners that are older than attach.
 *
 * kcm_mg_adopt, run in each network namespace after kcm_mg_owner, registers them as listen() would
 * have.
 */
#ifndef KCM_MIGRATE_ADOPT_BPF_H
#define KCM_MIGRATE_ADOPT_BPF_H

#define MG_SOL_TCP	      6
#define MG_TCP_SOCK_OPS_FLAGS 1008 /* TCP_BPF_SOCK_OPS_CB_FLAGS, from 6.12 on */

SEC("iter/tcp")
int kcm_mg_adopt(struct bpf_iter__tcp *ctx)
{
	struct sock_common *skc = ctx->sk_common;
	__u32 flags = BPF_SOCK_OPS_STATE_CB_FLAG;
	struct kcm_mg *mg = mg_state();
	struct mg_new d = {};
	struct tcp_sock *tp;

	if (!skc || !mg)
		return 0;
	tp = bpf_skc_to_tcp_sock(skc);
	if (!tp || !is_listener((struct sock *)tp) || !in_cgroup((struct sock *)tp) ||
	    !BPF_CORE_READ_BITFIELD_PROBED(skc, skc_reuseport))
		return 0;
	d.cookie = bpf_get_socket_cookie(tp);
	if (is_known(mg, &d))
		return 0;
	new_from_sock(&d, tp);
	d.flags = KCM_MG_SLOT_ADOPTED;
	new_from_seed(&d);
	if (!d.why && bpf_map_update_elem(&kcm_mg_socks, &d.cookie, tp, BPF_ANY))
		d.why = KCM_MGW_SOCKS;
	if (tcp_opens(mg, &d))
		return 0;
	bpf_map_update_elem(&kcm_mg_seats, &d.slot, tp, BPF_ANY);
	__sync_fetch_and_add(&mg->ctl.adopted, 1);
	flags |= BPF_CORE_READ(tp, bpf_sock_ops_cb_flags);
	bpf_setsockopt(tp, MG_SOL_TCP, MG_TCP_SOCK_OPS_FLAGS, &flags, sizeof(flags));
	return 0;
}

#endif
