/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* migrate_log.bpf.h - what has happened: for `watch`, and for the keeper. */
#ifndef KCM_MIGRATE_LOG_BPF_H
#define KCM_MIGRATE_LOG_BPF_H

/* With the lock held. */
static __always_inline void log_add(struct kcm_mg *mg, __u32 kind, __u32 group, __u32 slot,
				    struct kcm_mg_gen *gen, __u64 now_ns, __u32 why)
{
	__u64 seq = ++mg->ctl.log_next;
	struct kcm_mg_event *e = &mg->log[seq & (KCM_MG_LOG - 1)];
	struct kcm_mg_slot *s = slot_at(mg, slot);

	*(volatile __u64 *)&e->seq = 0;
	e->ts_ns = now_ns;
	e->kind = kind;
	e->group = group;
	e->slot = slot;
	e->why = why;
	e->gen = gen ? gen->id : 0;
	e->n = gen ? gen->n + gen->drained : 0;
	e->pid = slot == KCM_MG_NONE ? 0 : s->pid;
	e->moved = slot == KCM_MG_NONE ? 0 : s->out;
	__builtin_memcpy(e->comm, slot == KCM_MG_NONE && gen ? gen->comm : s->comm,
			 sizeof(e->comm));
	*(volatile __u64 *)&e->seq = seq;
}

/* Without it. */
static __always_inline void wake_keeper(void)
{
	__u64 any = 0;

	bpf_ringbuf_output(&kcm_mg_wake, &any, sizeof(any), 0);
}

#endif
