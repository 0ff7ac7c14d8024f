/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* migrate_who.bpf.h - which start of a server a process belongs to, and what a listener is like. */
#ifndef KCM_MIGRATE_WHO_BPF_H
#define KCM_MIGRATE_WHO_BPF_H

#define MG_CLIMB 8

static __always_inline const void *who_exe(const struct task_struct *t)
{
	return BPF_CORE_READ(t, mm, exe_file, f_inode);
}

/*
 * The process that a generation is called after: climb from the one that listens to those it was
 * forked from, as long as none has executed anything since. A process that was forked from another
 * and has never called exec has that one's exec id of then; the parent may be another by now
 * (reparented: another program; executed itself anew: another id).
 */
static __always_inline void who_is(const struct task_struct *task, struct kcm_mg_key *key)
{
	const struct task_struct *t = BPF_CORE_READ(task, group_leader);

	for (int i = 0; i < MG_CLIMB; i++) {
		const struct task_struct *p = BPF_CORE_READ(t, real_parent, group_leader);
		__u64 forked = BPF_CORE_READ(t, parent_exec_id);

		if (BPF_CORE_READ(t, self_exec_id) != forked || !p ||
		    BPF_CORE_READ(p, self_exec_id) != forked || who_exe(p) != who_exe(t))
			break;
		t = p;
	}
	key->start_ns = BPF_CORE_READ(t, start_boottime);
	key->exec_id = BPF_CORE_READ(t, self_exec_id);
	key->pid = BPF_CORE_READ(t, tgid);
}

/* Of later kernels than the one vmlinux.h is made from, or with another configuration. */
struct tcp_sock___ao {
	void *ao_info;
} __attribute__((preserve_access_index));

struct tcp_sock___mptcp {
	_Bool is_mptcp;
} __attribute__((preserve_access_index));

#define MG_PROTO_MPTCP 262

/*
 * What must be equal for connections to move, see enum kcm_mg_kind. Read each time, not only at
 * listen(): nginx sets TCP_FASTOPEN after it. @addr may be of a socket that is gone by now: then
 * it says nothing, and selecting that socket fails.
 */
__noinline int kcm_mg_kind(__u64 addr)
{
	struct tcp_sock *tp = (void *)addr;
	struct tcp_sock___ao *ao = (void *)addr;
	struct tcp_sock___mptcp *mp = (void *)addr;
	__u32 kind = 0, syn = BPF_CORE_READ_BITFIELD_PROBED(tp, save_syn);

	if (syn == 1)
		kind |= KCM_MG_KIND_SAVE_SYN;
	if (syn == 2)
		kind |= KCM_MG_KIND_SAVE_SYN2;
	if (BPF_CORE_READ(tp, inet_conn.icsk_accept_queue.fastopenq.max_qlen))
		kind |= KCM_MG_KIND_FASTOPEN;
	if (BPF_CORE_READ(tp, inet_conn.icsk_accept_queue.rskq_defer_accept))
		kind |= KCM_MG_KIND_DEFER;
	if (bpf_core_field_exists(tp->md5sig_info) && BPF_CORE_READ(tp, md5sig_info))
		kind |= KCM_MG_KIND_MD5;
	if (bpf_core_field_exists(ao->ao_info) && BPF_CORE_READ(ao, ao_info))
		kind |= KCM_MG_KIND_AO;
	/* What listens is the TCP socket below. */
	if (bpf_core_field_exists(mp->is_mptcp) && BPF_CORE_READ(mp, is_mptcp))
		kind |= KCM_MG_KIND_MPTCP;
	return kind;
}

static __always_inline __u32 queue_of(__u64 addr)
{
	return BPF_CORE_READ((struct sock *)addr, sk_ack_backlog);
}

#endif
