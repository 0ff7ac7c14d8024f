/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * migrate_adopt.bpf.h - listeners that are older than attach.
 *
 * kcm_mg_owner walks the descriptors of all processes and notes who has which listener;
 * kcm_mg_adopt, run in each network namespace after it, registers them as listen() would have.
 */
#ifndef KCM_MIGRATE_ADOPT_BPF_H
#define KCM_MIGRATE_ADOPT_BPF_H

#define MG_SOL_TCP	      6
#define MG_TCP_SOCK_OPS_FLAGS 1008 /* TCP_BPF_SOCK_OPS_CB_FLAGS, from 6.12 on */
#define MG_CGROUP_DEPTH	      32

static __always_inline int is_listener(const struct sock *sk)
{
	return BPF_CORE_READ(sk, __sk_common.skc_state) == BPF_TCP_LISTEN &&
	       BPF_CORE_READ(sk, __sk_common.skc_num) == kcm_mg_conf.port;
}

SEC("iter/task_file")
int kcm_mg_owner(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct kcm_mg_seed seed = {};
	struct socket *socket;
	struct sock *sk;
	__u64 cookie;

	if (!task || !file)
		return 0;
	socket = bpf_sock_from_file(file);
	if (!socket)
		return 0;
	sk = BPF_CORE_READ(socket, sk);
	if (!sk || BPF_CORE_READ(sk, sk_protocol) != IPPROTO_TCP || !is_listener(sk))
		return 0;
	bpf_core_read(&cookie, sizeof(cookie), &sk->__sk_common.skc_cookie);
	if (!cookie)
		return 0;
	who_is(task, &seed.key);
	seed.pid = BPF_CORE_READ(task, tgid);
	bpf_core_read(seed.comm, sizeof(seed.comm), &task->comm);
	/* The first who has it: a parent comes before its children. */
	bpf_map_update_elem(&kcm_mg_seed, &cookie, &seed, BPF_NOEXIST);
	return 0;
}

static __always_inline int in_cgroup(const struct sock *sk)
{
	struct cgroup *cgrp = BPF_CORE_READ(sk, sk_cgrp_data.cgroup);

	if (!kcm_mg_conf.cgroup_id)
		return 1;
	for (int i = 0; i < MG_CGROUP_DEPTH && cgrp; i++) {
		if (BPF_CORE_READ(cgrp, kn, id) == kcm_mg_conf.cgroup_id)
			return 1;
		cgrp = BPF_CORE_READ(cgrp, self.parent, cgroup);
	}
	return 0;
}

SEC("iter/tcp")
int kcm_mg_adopt(struct bpf_iter__tcp *ctx)
{
	struct sock_common *skc = ctx->sk_common;
	__u32 flags = BPF_SOCK_OPS_STATE_CB_FLAG;
	struct kcm_mg *mg = mg_state();
	struct kcm_mg_seed *seed;
	struct mg_new d = {};
	struct tcp_sock *tp;

	if (!skc || !mg)
		return 0;
	tp = bpf_skc_to_tcp_sock(skc);
	if (!tp || !is_listener((struct sock *)tp) || !in_cgroup((struct sock *)tp) ||
	    !BPF_CORE_READ_BITFIELD_PROBED(skc, skc_reuseport))
		return 0;
	d.cookie = bpf_get_socket_cookie(tp);
	if (bpf_map_lookup_elem(&kcm_mg_index, &d.cookie))
		return 0;
	new_from_sock(&d, tp);
	d.flags = KCM_MG_SLOT_ADOPTED;
	seed = bpf_map_lookup_elem(&kcm_mg_seed, &d.cookie);
	if (seed) {
		__u64 cgroup_id = d.key.cgroup_id;

		d.key = seed->key;
		d.key.cgroup_id = cgroup_id;
		d.pid = seed->pid;
		__builtin_memcpy(d.comm, seed->comm, sizeof(d.comm));
	}
	if (!d.why && bpf_map_update_elem(&kcm_mg_socks, &d.cookie, tp, BPF_ANY))
		d.why = KCM_MGW_SOCKS;
	if (listener_opens(mg, &d))
		return 0;
	__sync_fetch_and_add(&mg->ctl.adopted, 1);
	flags |= BPF_CORE_READ(tp, bpf_sock_ops_cb_flags);
	bpf_setsockopt(tp, MG_SOL_TCP, MG_TCP_SOCK_OPS_FLAGS, &flags, sizeof(flags));
	return 0;
}

#endif
