/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * migrate_owner.bpf.h - who has the listeners that are older than attach.
 *
 * kcm_mg_owner walks the descriptors of all processes and notes who has which listener;
 * kcm_mg_adopt looks there.
 */
#ifndef KCM_MIGRATE_OWNER_BPF_H
#define KCM_MIGRATE_OWNER_BPF_H

#define MG_CGROUP_DEPTH 32

static __always_inline int is_listener(const struct sock *sk)
{
	__u8 state = kcm_mg_conf.protocol == IPPROTO_TCP ? BPF_TCP_LISTEN : BPF_TCP_CLOSE;

	/* UDP: one that has a peer is its alone. */
	return BPF_CORE_READ(sk, sk_protocol) == kcm_mg_conf.protocol &&
	       BPF_CORE_READ(sk, __sk_common.skc_state) == state &&
	       BPF_CORE_READ(sk, __sk_common.skc_num) == kcm_mg_conf.port;
}

SEC("iter/task_file")
int kcm_mg_owner(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct sock *sk = sock_of_file(ctx->file);
	struct kcm_mg_seed seed = {};
	__u64 addr;

	if (!task || !sk || !is_listener(sk))
		return 0;
	addr = (__u64)sk;
	who_is(task, &seed.key);
	seed.pid = BPF_CORE_READ(task, tgid);
	bpf_core_read(seed.comm, sizeof(seed.comm), &task->comm);
	/* The first who has it: a parent comes before its children. */
	bpf_map_update_elem(&kcm_mg_seed, &addr, &seed, BPF_NOEXIST);
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

/* Who listens on it, if that was found. */
static __always_inline void new_from_seed(struct mg_new *d)
{
	struct kcm_mg_seed *seed = bpf_map_lookup_elem(&kcm_mg_seed, &d->sk);
	__u64 cgroup_id = d->key.cgroup_id;

	if (!seed)
		return;
	d->key = seed->key;
	d->key.cgroup_id = cgroup_id;
	d->pid = seed->pid;
	__builtin_memcpy(d->comm, seed->comm, sizeof(d->comm));
}

#endif
