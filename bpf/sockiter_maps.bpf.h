/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* sockiter_maps.bpf.h - maps that only the iterators have. The others are sock's, by their names.
 */
#ifndef KCM_SOCKITER_MAPS_BPF_H
#define KCM_SOCKITER_MAPS_BPF_H

/*
 * kcm_sk_snap - the snapshot. Key: cookie. Written by kcm_sk_refresh; read by bpftool, by kcmtool
 * and by who wants to. Lifetime of an element: until a refresh does not find its socket.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, KCM_SK_SNAPSHOT); /* set at load */
	__type(key, __u64);
	__type(value, struct kcm_sk_row);
} kcm_sk_snap SEC(".maps");

/* kcm_sk_sweep - what sweeps are told, and what they did. Key: 0. Lifetime: as the system. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct kcm_sk_sweep);
} kcm_sk_sweep SEC(".maps");

/* kcm_sk_cgroups - cgroups that the programs are on. Key: id. Written by user space. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, __u64);
	__type(value, __u32);
} kcm_sk_cgroups SEC(".maps");

/*
 * kcm_sk_owners - processes that have sockets. Key: the socket's inode. Written by user space for
 * one sweep: programs that run in no process's name can't know. Empty in between.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1 << 18);
	__type(key, __u64);
	__type(value, struct kcm_sk_owner);
} kcm_sk_owners SEC(".maps");

/* kcm_sk_lports - ports with a listener. Value: the iterator's session that met it. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct kcm_sk_lport);
	__type(value, __u64);
} kcm_sk_lports SEC(".maps");

/*
 * kcm_sk_scratch - where a row is made. An iterator is preemptible, a CPU's own element would not
 * do. Key: index. Lifetime of an element's contents: one call of a program.
 */
#define KCM_SK_TEXTS (1 + 2 * KCM_SK_LABELS)
#define KCM_SK_TEXT  128 /* \u00xx for each of 20 bytes, and the loop's slack */

struct kcm_sk_scratch {
	__u64 owner; /* session + 1; 0 = free */
	__u32 at;    /* kcm_row_text(): in memory, where the verifier does not follow each value */
	__u32 whole;
	__u8 from[32];
	char text[KCM_SK_TEXTS][KCM_SK_TEXT]; /* comm, keys and values of labels, escaped */
	struct kcm_sk_row row;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, KCM_SK_SCRATCHES);
	__type(key, __u32);
	__type(value, struct kcm_sk_scratch);
} kcm_sk_scratch SEC(".maps");

static __always_inline struct kcm_sk_sweep *sweep_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&kcm_sk_sweep, &zero);
}

static __always_inline struct kcm_sk_scratch *scratch_get(__u64 session, __u32 *index)
{
	for (__u32 i = 0; i < KCM_SK_SCRATCHES; i++) {
		__u32 key = (session + i) % KCM_SK_SCRATCHES;
		struct kcm_sk_scratch *s = bpf_map_lookup_elem(&kcm_sk_scratch, &key);

		*index = key;
		if (s && !__sync_val_compare_and_swap(&s->owner, 0, session + 1))
			return s;
	}
	return NULL;
}

static __always_inline void scratch_put(struct kcm_sk_scratch *s)
{
	__sync_lock_test_and_set(&s->owner, 0);
}

#endif
