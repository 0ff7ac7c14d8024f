/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sock_stash.bpf.h - segments that come before those in front of them: kept until the gap is
 * filled. The programs look at segments before TCP sorts them (tcp_filter() comes before
 * tcp_data_queue()), and on the way out behind what firewalls drop (LOCAL_OUT comes before the
 * cgroup's egress programs). Loopback on two CPUs is enough to see them out of order.
 */
#ifndef KCM_SOCK_STASH_BPF_H
#define KCM_SOCK_STASH_BPF_H

#define KCM_STASH_JOIN	 (KCM_SK_STASH / 2)
#define KCM_STASH_OLD_NS (120ULL * 1000000000) /* nobody waits so long for a retransmission */

/* A free chunk, for @owner. Return: chunk, or -1. A function: verified once. */
__noinline int kcm_stash_claim(__u64 owner)
{
	__u32 zero = 0, at = bpf_get_prandom_u32();
	struct kcm_sk_stash_heads *all = bpf_map_lookup_elem(&kcm_sk_sthead, &zero);
	__u64 now = bpf_ktime_get_coarse_ns();

	if (!all)
		return -1;
	for (int i = 0; i < 64; i++) {
		struct kcm_sk_stash_head *h = &all->h[(at + i) & (KCM_SK_STASHES - 1)];
		__u64 had = h->owner;

		if (had && now - h->since_ns < KCM_STASH_OLD_NS)
			continue;
		if (__sync_val_compare_and_swap(&h->owner, had, owner) != had)
			continue;
		h->since_ns = now;
		return (at + i) & (KCM_SK_STASHES - 1);
	}
	return -1;
}

static long stash_behind(__u32 i, struct kcm_stash_run *r)
{
	__u32 zero = 0, at = i & (KCM_SK_STASHES - 1);
	struct kcm_sk_stash_heads *all = bpf_map_lookup_elem(&kcm_sk_sthead, &zero);
	struct kcm_sk_stash_head *h;

	if (!all)
		return 1;
	h = &all->h[at];
	if (h->owner != r->owner || h->seq + h->len != r->next_seq || h->len > KCM_STASH_JOIN)
		return 0;
	r->found = at + 1;
	return 1;
}

/*
 * Behind a lost segment come many small ones: join them to the chunk that ends where they begin.
 * Return: whether all @len bytes are there.
 */
static __always_inline int stash_join(struct __sk_buff *ctx, struct kcm_sk_dir *d, __u64 owner,
				      __u32 seq, __u32 off, __u32 len)
{
	struct kcm_stash_run r = { .owner = owner, .next_seq = seq };
	__u32 zero = 0, at, from, last = len - 1;
	struct kcm_sk_stash_heads *all;
	struct kcm_sk_stash_head *h;
	struct kcm_sk_stash *c;

	if (!d->stashes || len > KCM_STASH_JOIN)
		return 0;
	bpf_loop(KCM_SK_STASHES, stash_behind, &r, 0);
	if (!r.found)
		return 0;
	all = bpf_map_lookup_elem(&kcm_sk_sthead, &zero);
	at = r.found - 1;
	c = bpf_map_lookup_elem(&kcm_sk_stash, &at);
	if (!all || !c)
		return 0;
	h = &all->h[(r.found - 1) & (KCM_SK_STASHES - 1)];
	from = h->len;
	asm volatile("" : "+r"(from), "+r"(last));
	if (from > KCM_STASH_JOIN || last >= KCM_STASH_JOIN)
		return 0;
	if (bpf_skb_load_bytes(ctx, off, c->bytes + from, last + 1))
		return 0;
	h->len = from + len;
	return 1;
}

/* Keep @len bytes at @off of the skb, sequence number @seq. Return: 0, or -1: no space. */
static __always_inline int stash_put(struct __sk_buff *ctx, struct kcm_sk_dir *d, __u64 owner,
				     __u32 seq, __u32 off, __u32 len)
{
	__u32 zero = 0;
	struct kcm_sk_stash_heads *all = bpf_map_lookup_elem(&kcm_sk_sthead, &zero);

	if (!all)
		return -1;
	if (stash_join(ctx, d, owner, seq, off, len))
		return 0;
	for (int i = 0; i < 32 && len; i++) {
		struct kcm_sk_stash_head *h;
		struct kcm_sk_stash *c;
		__u32 n = len < KCM_SK_STASH ? len : KCM_SK_STASH, at, bytes;
		int chunk;

		if (d->stashes >= KCM_SK_STASH_MAX)
			return -1;
		chunk = kcm_stash_claim(owner);
		if (chunk < 0)
			return -1;
		at = chunk & (KCM_SK_STASHES - 1);
		h = &all->h[at];
		h->seq = seq;
		h->len = 0;
		d->stashes++;
		c = bpf_map_lookup_elem(&kcm_sk_stash, &at);
		bytes = n - 1;
		asm volatile("" : "+r"(bytes));
		if (!c || bytes >= KCM_SK_STASH)
			return -1;
		if (bpf_skb_load_bytes(ctx, off, c->bytes, bytes + 1))
			return -1;
		h->len = n;
		seq += n;
		off += n;
		len -= n;
	}
	return len ? -1 : 0;
}

static long stash_look(__u32 i, struct kcm_stash_run *r)
{
	__u32 zero = 0, at = i & (KCM_SK_STASHES - 1);
	struct kcm_sk_stash_heads *all = bpf_map_lookup_elem(&kcm_sk_sthead, &zero);
	struct kcm_sk_stash_head *h;

	if (!all)
		return 1;
	h = &all->h[at];
	if (h->owner != r->owner)
		return 0;
	if ((__s32)(h->seq + h->len - r->next_seq) <= 0) {
		r->freed++;
		__sync_lock_test_and_set(&h->owner, 0);
		return 0;
	}
	if ((__s32)(h->seq - r->next_seq) > 0)
		return 0;
	r->found = at + 1;
	return 1;
}

/* The chunk that holds the byte @next_seq, + 1; 0 = none. Frees those that are of no use. */
static __always_inline __u32 stash_next(struct kcm_sk_dir *d, __u64 owner, __u32 next_seq)
{
	struct kcm_stash_run r = { .owner = owner, .next_seq = next_seq };

	bpf_loop(KCM_SK_STASHES, stash_look, &r, 0);
	d->stashes = d->stashes > r.freed ? d->stashes - r.freed : 0;
	if (!r.found && !r.freed)
		return 0;
	return r.found;
}

#endif
