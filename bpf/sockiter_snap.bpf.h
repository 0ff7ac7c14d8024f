/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sockiter_snap.bpf.h - refresh: all sockets into kcm_sk_snap, and what is gone out of it.
 *
 * One file is read, and all is done: the iterator walks sk_storage, and its last call, which is
 * without a socket, walks the slots. A connection moves from the storage to a slot and never back,
 * so none is missed. A row's `seen` is the number of the iterator's session, which the kernel
 * counts up: what a finished refresh has not seen is removed. Two at a time do no harm: each writes
 * the newest number there is, and removes what is older than its own.
 */
#ifndef KCM_SOCKITER_SNAP_BPF_H
#define KCM_SOCKITER_SNAP_BPF_H

struct snap_pass {
	__u64 session;
	__u64 seen;
	__u64 sockets;
	__u64 removed;
	__u32 scratch; /* index */
	__u32 missed;
};

static __always_inline __u64 snap_number(__u64 session)
{
	struct kcm_sk_ctl *ctl = ctl_get();
	__u64 newest;

	if (!ctl)
		return session;
	newest = ctl->snapshot;
	if (newest >= session)
		return newest;
	__sync_val_compare_and_swap(&ctl->snapshot, newest, session);
	return session;
}

static __always_inline int snap_put(struct kcm_sk_row *r, __u64 seen)
{
	r->sock.seen = seen;
	return bpf_map_update_elem(&kcm_sk_snap, &r->sock.cookie, r, BPF_ANY) ? -1 : 0;
}

static long snap_slot(__u32 slot, struct snap_pass *p)
{
	struct kcm_sk_scratch *s = bpf_map_lookup_elem(&kcm_sk_scratch, &p->scratch);

	if (!s)
		return 1;
	if (row_slot(s, slot) && snap_put(&s->row, p->seen))
		p->missed++;
	return 0;
}

static long snap_stale(struct bpf_map *map, const __u64 *cookie, struct kcm_sk_row *r,
		       struct snap_pass *p)
{
	if (r->sock.seen >= p->session) {
		p->sockets++;
		return 0;
	}
	bpf_map_delete_elem(map, cookie);
	p->removed++;
	return 0;
}

/* The last call: slots, and what is to go. */
static __always_inline void snap_finish(struct seq_file *seq, struct snap_pass *p,
					struct kcm_sk_sweep *sweep)
{
	bpf_loop(kcm_sk_cfg.slots, snap_slot, p, 0);
	bpf_for_each_map_elem(&kcm_sk_snap, snap_stale, p, 0);
	__sync_fetch_and_add(&sweep->missed, p->missed);
	BPF_SEQ_PRINTF(seq, "%llu sockets, %llu removed, %llu missed since load\n", p->sockets,
		       p->removed, sweep->missed);
}

SEC("iter/bpf_sk_storage_map")
int kcm_sk_refresh(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	__u64 session = ctx->meta->session_id;
	struct kcm_sk_store *store = ctx->value;
	struct kcm_sk_sweep *sweep = sweep_get();
	struct sock *sk = ctx->sk;
	struct snap_pass p = { .session = session };
	struct kcm_sk_scratch *s;

	if (!sweep || (sk && (!store || store->hot.state == KCM_SK_NEW)))
		return 0;
	s = scratch_get(session, &p.scratch);
	if (!s) {
		__sync_fetch_and_add(&sweep->missed, 1);
		return 0;
	}
	p.seen = snap_number(session);
	if (sk && store) {
		if (row_store(s, sk, store) && snap_put(&s->row, p.seen))
			__sync_fetch_and_add(&sweep->missed, 1);
	} else {
		snap_finish(ctx->meta->seq, &p, sweep);
	}
	scratch_put(s);
	return 0;
}

#endif
