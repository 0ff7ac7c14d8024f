/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sockiter_file.bpf.h - the public iterators by the descriptors of all processes.
 *
 * For kernels that let no program walk the elements of a map (BPF_PROG_LOAD of iter/bpf_map_elem
 * and iter/bpf_sk_storage_map is refused with EPERM, seen on a hardened 6.18). A socket that no
 * process has open is not met: one that waits in an accept queue, one that lingers after close().
 * The snapshot has those that have a slot all the same: its last call walks the slots by number.
 */
#ifndef KCM_SOCKITER_FILE_BPF_H
#define KCM_SOCKITER_FILE_BPF_H

/*
 * kcm_sk_met - sockets that a reader has been shown: several processes may have one open. Written
 * and read by the programs here. Lifetime of an element: until that reader, or a later one, is
 * at the end.
 */
struct met_key {
	__u64 session;
	__u64 cookie;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1 << 20);
	__type(key, struct met_key);
	__type(value, __u8);
} kcm_sk_met SEC(".maps");

static long met_stale(struct bpf_map *map, const struct met_key *key, const __u8 *value,
		      const __u64 *session)
{
	if (key->session <= *session)
		bpf_map_delete_elem(map, key);
	return 0;
}

static __always_inline int met_before(struct met_key *key)
{
	return bpf_map_lookup_elem(&kcm_sk_met, key) != NULL;
}

/* A row that did not fit any more is asked for again, see bpf_seq_read(): it was not shown. */
static __always_inline void met_now(struct seq_file *seq, struct met_key *key)
{
	__u8 yes = 1;

	if (seq->count < seq->size)
		bpf_map_update_elem(&kcm_sk_met, key, &yes, BPF_ANY);
}

/*
 * The socket behind a descriptor, if it is one of TCP or UDP that was given a cookie. The field is
 * read: bpf_get_socket_cookie() would give one to all sockets of the machine.
 */
static __always_inline struct sock *file_sock(struct file *file, __u64 *cookie)
{
	struct sock *sk = sock_of_file(file);

	if (!sk || (sk->sk_protocol != KCM_SK_TCP && sk->sk_protocol != KCM_SK_UDP))
		return NULL;
	*cookie = sk->__sk_common.skc_cookie.counter;
	return *cookie ? sk : NULL;
}

SEC("iter/task_file")
int kcm_sf_refresh(struct bpf_iter__task_file *ctx)
{
	__u64 session = ctx->meta->session_id, cookie = 0;
	struct file *file = ctx->file;
	struct kcm_sk_sweep *sweep = sweep_get();
	struct sock *sk = file_sock(file, &cookie);
	struct kcm_sk_store *store = NULL;
	struct snap_pass p = { .session = session };
	struct kcm_sk_scratch *s;

	if (sk)
		store = bpf_sk_storage_get(&kcm_sk_store, sk, 0, 0);
	else if (file && ctx->meta->seq_num % IDLE_ROUND == IDLE_ROUND - 1)
		BPF_SEQ_PRINTF(ctx->meta->seq, "\n");
	if (!sweep || (file && (!store || store->hot.state == KCM_SK_NEW)))
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

static __always_inline int text_file(struct bpf_iter__task_file *ctx, int json, int rest)
{
	struct met_key key = { .session = ctx->meta->session_id };
	struct seq_file *seq = ctx->meta->seq;
	struct file *file = ctx->file; /* once: no pointer into ctx is kept */
	struct sock *sk = file_sock(file, &key.cookie);
	struct kcm_sk_store *store = NULL;
	struct kcm_sk_scratch *s;
	__u32 slot, index;
	int ok;

	if (!json && !rest && !ctx->meta->seq_num)
		show_head(seq);
	else if (file && ctx->meta->seq_num % IDLE_ROUND == IDLE_ROUND - 1)
		BPF_SEQ_PRINTF(seq, "\n");
	if (!file) {
		bpf_for_each_map_elem(&kcm_sk_met, met_stale, &key.session, 0);
		return 0;
	}
	if (!sk)
		return 0;
	if (rest)
		store = bpf_sk_storage_get(&kcm_sk_store, sk, 0, 0);
	else if (!slot_find(key.cookie, &slot))
		return 0;
	if ((rest && !store) || met_before(&key))
		return 0;
	s = scratch_get(key.session, &index);
	if (!s)
		return 0;
	ok = store ? row_store(s, sk, store)
		   : row_slot(s, slot) && s->row.sock.cookie == key.cookie;
	if (ok && json)
		json_row(seq, s);
	else if (ok)
		show_row(seq, s);
	if (ok)
		met_now(seq, &key);
	scratch_put(s);
	return 0;
}

SEC("iter/task_file")
int kcm_sf_show(struct bpf_iter__task_file *ctx)
{
	return text_file(ctx, 0, 0);
}

SEC("iter/task_file")
int kcm_sf_show_rest(struct bpf_iter__task_file *ctx)
{
	return text_file(ctx, 0, 1);
}

SEC("iter/task_file")
int kcm_sf_json(struct bpf_iter__task_file *ctx)
{
	return text_file(ctx, 1, 0);
}

SEC("iter/task_file")
int kcm_sf_json_rest(struct bpf_iter__task_file *ctx)
{
	return text_file(ctx, 1, 1);
}

#endif
