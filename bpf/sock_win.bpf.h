/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* sock_win.bpf.h - windows: where bytes of a segment are looked at. */
#ifndef KCM_SOCK_WIN_BPF_H
#define KCM_SOCK_WIN_BPF_H

#define KCM_WINDOWS 4

/*
 * kcm_sk_win - windows. Key: 0 to 3, a CPU has so many because a softirq or another task may come
 * between. Value: a window. Written and read by the program that has set its busy word. Lifetime:
 * one segment.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, KCM_WINDOWS);
	__type(key, __u32);
	__type(value, struct kcm_sk_win);
} kcm_sk_win SEC(".maps");

static __always_inline struct kcm_sk_win *win_get(void)
{
	for (__u32 i = 0; i < KCM_WINDOWS; i++) {
		__u32 key = i;
		struct kcm_sk_win *w = bpf_map_lookup_elem(&kcm_sk_win, &key);

		if (!w)
			return NULL;
		if (!__sync_lock_test_and_set(&w->busy, 1))
			return w;
	}
	return NULL;
}

static __always_inline void win_put(struct kcm_sk_win *w)
{
	__sync_lock_test_and_set(&w->busy, 0);
}

#endif
