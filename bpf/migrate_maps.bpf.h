/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* migrate_maps.bpf.h - the maps of migrate, for TCP and UDP. */
#ifndef KCM_MIGRATE_MAPS_BPF_H
#define KCM_MIGRATE_MAPS_BPF_H

const volatile struct kcm_mg_conf kcm_mg_conf = {};

/*
 * kcm_mg - all that is known, see struct kcm_mg. Key: 0. Written by sockops and iterators under
 * kcm_mg_lock, counters by the selector, the words that migrate.h says so by user space, which
 * maps it. Lifetime: as the instance.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct kcm_mg);
} kcm_mg SEC(".maps");

/*
 * kcm_mg_lock - serializes changes of kcm_mg. Not in kcm_mg: bpf_map_mmap() refuses a map that has
 * a lock. Key: 0. Not taken by the selector: 6.1 has no locks in sk_reuseport programs.
 */
struct kcm_mg_lock {
	struct bpf_spin_lock lock;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct kcm_mg_lock);
} kcm_mg_lock SEC(".maps");

/*
 * kcm_mg_index - where a socket is in kcm_mg. Key: cookie. Written as kcm_mg; anchors by the
 * keeper. An entry outlives its listener, until its slot is used again: what is half open
 * migrates a while later.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, KCM_MG_SLOTS * 2);
	__type(key, __u64);
	__type(value, struct kcm_mg_ref);
} kcm_mg_index SEC(".maps");

/*
 * kcm_mg_seed - who has the listeners that are older than attach. Key: address of the socket (a
 * cookie is given at its first use, and may not be there yet). Written by kcm_mg_owner, read by
 * kcm_mg_adopt, emptied by user space: used at attach only.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, KCM_MG_SLOTS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, struct kcm_mg_seed);
} kcm_mg_seed SEC(".maps");

/* kcm_mg_wake - a byte whenever a listener opens or closes. Read by the keeper only. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} kcm_mg_wake SEC(".maps");

/* What a server has said of a socket before listen(), see kcm_migrate.h. */
struct kcm_mg_said {
	__u32 number; /* of its generation; 0: nothing */
	__u32 ready;  /* it works as soon as it listens */
};

static __always_inline struct kcm_mg *mg_state(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&kcm_mg, &zero);
}

static __always_inline struct kcm_mg_group *group_at(struct kcm_mg *mg, __u32 i)
{
	return &mg->group[i & (KCM_MG_GROUPS - 1)];
}

static __always_inline struct kcm_mg_gen *gen_at(struct kcm_mg_group *g, __u32 i)
{
	return &g->gen[i & (KCM_MG_GENS - 1)];
}

static __always_inline struct kcm_mg_slot *slot_at(struct kcm_mg *mg, __u32 i)
{
	return &mg->slot[i & (KCM_MG_SLOTS - 1)];
}

/*
 * A number that the verifier knows becomes one that it does not: else it walks all that follows
 * once for each group and generation that a search may have found.
 */
static __always_inline __u32 mg_forget(struct kcm_mg *mg, __u32 n)
{
	*(volatile __u32 *)&mg->ctl.forget = n;
	return *(volatile __u32 *)&mg->ctl.forget;
}

/*
 * kcm_mg_ptr - makes a number of a pointer: the verifier lets one be read as a socket, as the
 * kernel has it, only if it does not know what it is. Key: 0. Lifetime of a value: between two
 * lines.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} kcm_mg_ptr SEC(".maps");

static __always_inline __u64 addr_of_sk(const void *sk)
{
	__u32 zero = 0;
	__u64 *p = bpf_map_lookup_elem(&kcm_mg_ptr, &zero);

	if (!p)
		return 0;
	*(volatile __u64 *)p = (__u64)sk;
	return *(volatile __u64 *)p;
}

#endif
