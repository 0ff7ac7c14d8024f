/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* sock_find.bpf.h - where a socket's state is; giving it a slot and taking it back. */
#ifndef KCM_SOCK_FIND_BPF_H
#define KCM_SOCK_FIND_BPF_H

struct kcm_sk_ref {
	struct kcm_sk_hot *hot;
	struct kcm_sk_in *in;
	struct kcm_sk_more *more;
	__u32 slot; /* KCM_SK_SLOT_NONE: in sk_storage */
};

/*
 * Both directions of a connection write flags and frame_dead, on two CPUs: no bit of the other's
 * may be lost. Atomics have 32 bits; the neighbours are only ever stored as bytes.
 */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define BYTE_SHIFT(at) (8 * (at))
#else
#define BYTE_SHIFT(at) (24 - 8 * (at))
#endif

static __always_inline void flags_set(struct kcm_sk_hot *hot, __u32 flags)
{
	__sync_fetch_and_or((__u32 *)&hot->state, flags << BYTE_SHIFT(3));
}

static __always_inline void flags_clear(struct kcm_sk_hot *hot, __u32 flags)
{
	__sync_fetch_and_and((__u32 *)&hot->state, ~(flags << BYTE_SHIFT(3)));
}

/*
 * TCP: sequence number behind the last byte counted. Derived, so that two CPUs that count at once
 * (a retransmission, a look at rcv_nxt) may set each other back, and never count a byte twice.
 */
static __always_inline __u32 rx_next(const struct kcm_sk_in *in)
{
	return in->rx_base + (__u32) * (const volatile __u64 *)&in->rx_bytes;
}

/* @direction: 1 tx, 2 rx. */
static __always_inline void dead_set(struct kcm_sk_hot *hot, __u32 direction)
{
	__sync_fetch_and_or((__u32 *)&hot->frame_dead, direction << BYTE_SHIFT(0));
}

_Static_assert(__builtin_offsetof(struct kcm_sk_hot, state) % 4 == 0 &&
		       __builtin_offsetof(struct kcm_sk_hot, flags) % 4 == 3 &&
		       __builtin_offsetof(struct kcm_sk_hot, frame_dead) % 4 == 0,
	       "bytes of aligned words");

/* The slot of a cookie, or KCM_SK_SLOT_NONE. */
static __always_inline struct kcm_sk_hot *slot_find(__u64 cookie, __u32 *slot)
{
	struct kcm_sk_hot *hot;

	for (int k = 0; k < KCM_SK_WAYS; k++) {
		*slot = ((__u32)cookie + k) & kcm_sk_cfg.slot_mask;
		hot = bpf_map_lookup_elem(&kcm_sk_hot, slot);
		if (!hot)
			break;
		if (hot->tag == cookie)
			return hot;
	}
	*slot = KCM_SK_SLOT_NONE;
	return NULL;
}

static __always_inline struct kcm_sk_in *slot_in(__u32 slot)
{
	return bpf_map_lookup_elem(&kcm_sk_in, &slot);
}

static __always_inline struct kcm_sk_more *slot_more(__u32 slot)
{
	return bpf_map_lookup_elem(&kcm_sk_more, &slot);
}

/* All parts of the slot of @cookie. Return: 0, or -1: it has none. */
static __always_inline int slot_ref(__u64 cookie, struct kcm_sk_ref *ref)
{
	ref->hot = slot_find(cookie, &ref->slot);
	if (!ref->hot)
		return -1;
	ref->in = slot_in(ref->slot);
	ref->more = slot_more(ref->slot);
	return 0;
}

/* All parts of a slot that was claimed. Return: 0 or -1. */
static __always_inline int slot_take(__u32 slot, struct kcm_sk_ref *ref)
{
	ref->slot = slot;
	ref->hot = bpf_map_lookup_elem(&kcm_sk_hot, &slot);
	ref->in = slot_in(slot);
	ref->more = slot_more(slot);
	return ref->hot && ref->in && ref->more ? 0 : -1;
}

/* Fill a claimed slot with what is on the socket, all but the tag. */
static __always_inline void slot_fill(struct kcm_sk_ref *ref, const struct kcm_sk_store *from)
{
	__builtin_memcpy((void *)ref->hot + 8, (void *)&from->hot + 8, sizeof(*ref->hot) - 8);
	__builtin_memcpy(ref->in, &from->in, sizeof(*ref->in));
	__builtin_memcpy(ref->more, &from->more, sizeof(*ref->more));
}

static __always_inline void store_ref(struct kcm_sk_store *store, struct kcm_sk_ref *ref)
{
	ref->hot = &store->hot;
	ref->in = &store->in;
	ref->more = &store->more;
	ref->slot = KCM_SK_SLOT_NONE;
}

/*
 * Give @cookie a slot, not published yet: nobody finds it before slot_publish(). A function, so
 * that it is verified once. Return: the slot, or -1.
 */
__noinline int kcm_slot_claim(__u64 cookie)
{
	__u64 now = bpf_ktime_get_coarse_ns();

	for (int k = 0; k < KCM_SK_WAYS; k++) {
		__u32 slot = ((__u32)cookie + k) & kcm_sk_cfg.slot_mask;
		struct kcm_sk_hot *hot = bpf_map_lookup_elem(&kcm_sk_hot, &slot);
		struct kcm_sk_in *in = slot_in(slot);

		if (!hot || !in)
			return -1;
		if (hot->tag)
			continue;
		/*
		 * The ingress program runs before the socket is locked: one that found this slot
		 * just before the former socket gave it up may write to it yet.
		 */
		if (in->last_ns && now - in->last_ns < KCM_SK_REUSE_NS)
			continue;
		if (!__sync_val_compare_and_swap(&hot->tag, 0, KCM_TAG_BUSY))
			return slot;
	}
	return -1;
}

/* The old tag is returned by exchange: a full barrier, what was filled in is seen before it. */
static __always_inline void slot_publish(struct kcm_sk_hot *hot, __u64 cookie)
{
	__sync_lock_test_and_set(&hot->tag, cookie);
}

static __always_inline void slot_release(struct kcm_sk_hot *hot, struct kcm_sk_in *in)
{
	in->last_ns = bpf_ktime_get_coarse_ns();
	hot->frame = 0;
	__sync_lock_test_and_set(&hot->tag, 0);
}

struct kcm_stash_run {
	__u64 owner;
	__u32 next_seq;
	__u32 found; /* chunk + 1 */
	__u32 freed;
	__u32 far; /* behind the last byte stashed */
	__u32 any;
};

static long stash_free_one(__u32 i, struct kcm_stash_run *r)
{
	__u32 zero = 0;
	struct kcm_sk_stash_heads *all = bpf_map_lookup_elem(&kcm_sk_sthead, &zero);
	struct kcm_sk_stash_head *h;

	if (!all)
		return 1;
	h = &all->h[i & (KCM_SK_STASHES - 1)];
	if (h->owner != r->owner)
		return 0;
	if (!r->any || (__s32)(h->seq + h->len - r->far) > 0)
		r->far = h->seq + h->len;
	r->any = 1;
	__sync_lock_test_and_set(&h->owner, 0);
	return 0;
}

/*
 * Free the chunks of stashed segments that nobody will ask for any more.
 * Return: whether there were any, and in @far the sequence number behind the last byte of them.
 */
static __always_inline int stash_free_all(struct kcm_sk_dir *d, __u64 cookie, int tx, __u32 *far)
{
	struct kcm_stash_run r = { .owner = KCM_STASH_OWNER(cookie, tx) };

	if (!d->stashes)
		return 0;
	bpf_loop(KCM_SK_STASHES, stash_free_one, &r, 0);
	d->stashes = 0;
	if (far)
		*far = r.far;
	return r.any;
}

#endif
