/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* sock_find.bpf.h - where a socket's state is; giving it a slot and taking it back. */
#ifndef KCM_SOCK_FIND_BPF_H
#define KCM_SOCK_FIND_BPF_H

struct kcm_sk_ref {
	struct kcm_sk_hot *hot;
	struct kcm_sk_more *more;
	__u32 slot; /* KCM_SK_SLOT_NONE: in sk_storage */
};

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

static __always_inline struct kcm_sk_more *slot_more(__u32 slot)
{
	return bpf_map_lookup_elem(&kcm_sk_more, &slot);
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

		if (!hot)
			return -1;
		if (hot->tag)
			continue;
		/*
		 * The ingress program runs before the socket is locked: one that found this slot
		 * just before the former socket gave it up may write to it yet.
		 */
		if (hot->last_ns && now - hot->last_ns < KCM_SK_REUSE_NS)
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

static __always_inline void slot_release(struct kcm_sk_hot *hot)
{
	hot->last_ns = bpf_ktime_get_coarse_ns();
	hot->frame = 0;
	__sync_lock_test_and_set(&hot->tag, 0);
}

/* Chunks of stashed segments that nobody will ask for any more. */
static __noinline void stash_free_all(struct kcm_sk_dir *d)
{
	__u32 id = d->stash;

	for (int i = 0; i < KCM_SK_STASH_MAX && id; i++) {
		__u32 at = id - 1;
		struct kcm_sk_stash_chunk *c = bpf_map_lookup_elem(&kcm_sk_stash, &at);

		if (!c)
			break;
		id = c->next;
		__sync_lock_test_and_set(&c->owner, 0);
	}
	d->stash = 0;
	d->stash_last = 0;
	d->stashes = 0;
}

#endif
