/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* flow_maps.bpf.h - the maps of flow. All sizes of 1 are set at load. */
#ifndef KCM_FLOW_MAPS_BPF_H
#define KCM_FLOW_MAPS_BPF_H

/* ---- of an instance: all its programs have them in common ---- */

/*
 * kcm_fl_h4, kcm_fl_e4, kcm_fl_h6, kcm_fl_e6 - the cache.
 * Key: of a head cpu * sets + set, of an entry that * KCM_FL_WAYS + way. Written by programs on
 * that CPU, but for genid = 0 by `flow flush`. Read by them, and by everybody who maps them.
 * Lifetime of an entry: until another flow needs the way.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct kcm_fl_head);
} kcm_fl_h4 SEC(".maps"), kcm_fl_h6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct kcm_fl_ent4);
} kcm_fl_e4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct kcm_fl_ent6);
} kcm_fl_e6 SEC(".maps");

/*
 * kcm_fl_pol - policies. Key: slot. Written by user space only, read by the programs. A slot is
 * used again when no program that knows it runs any more.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct kcm_fl_pol);
} kcm_fl_pol SEC(".maps");

/*
 * kcm_fl_cnt - what policies have decided on, and what count and sample have seen.
 * Key: cpu * slots + slot. Written by programs on that CPU, set to 0 by user space when a slot gets
 * a policy. Read by user space.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct kcm_fl_count);
} kcm_fl_cnt SEC(".maps");

/* kcm_fl_stat - see struct kcm_fl_stat. Key: cpu. Written by programs on it, read by user space. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct kcm_fl_stat);
} kcm_fl_stat SEC(".maps");

/*
 * kcm_fl_lim - limits of policies. Key: slot. Value: when all that was let through is paid for, ns
 * of CLOCK_MONOTONIC. Written and read by programs on all CPUs, set to 0 with a slot's policy.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} kcm_fl_lim SEC(".maps");

/*
 * kcm_fl_flim - limits of single flows. Key: flow and policy, with its generation. Value: as in
 * kcm_fl_lim. Written and read by programs. Lifetime: until others are used more.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, KCM_FL_FLOW_LIMITS);
	__type(key, struct kcm_fl_flow_key);
	__type(value, __u64);
} kcm_fl_flim SEC(".maps");

/* kcm_fl_ring - samples: struct kcm_fl_sample and bytes. Read by `flow watch`. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} kcm_fl_ring SEC(".maps");

/*
 * kcm_fl_bun - what the routing table said. Key: cpu * KCM_FL_BUNDLES + part of the hash. Written
 * and read by programs on that CPU. Lifetime: kcm_fl_conf.bundle_ticks.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct kcm_fl_bundle);
} kcm_fl_bun SEC(".maps");

/* kcm_fl_cpus - where `cpu` sends to. Key: CPU. Written by user space, read by the programs. */
struct {
	__uint(type, BPF_MAP_TYPE_CPUMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct bpf_cpumap_val);
} kcm_fl_cpus SEC(".maps");

/* ---- of a program: written before it is attached, and read by it. Lifetime: as the program ----
 */

/* kcm_fl_node - the trees. Key: number of a node. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} kcm_fl_node SEC(".maps");

/* kcm_fl_r4, kcm_fl_r6 - leaves. Key: place; rules of a leaf are in a row, first rank first. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct kcm_fl_rule4);
} kcm_fl_r4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct kcm_fl_rule6);
} kcm_fl_r6 SEC(".maps");

/* kcm_fl_iv4, kcm_fl_iv6 - addresses of lists, in intervals. Key: place, first address first. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct kcm_fl_iv4);
} kcm_fl_iv4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct kcm_fl_iv6);
} kcm_fl_iv6 SEC(".maps");

/*
 * kcm_fl_src - the set as text of the rule language, and kcm_fl_idx - its policies. For user space
 * alone: no program reads them, they are bound to it so that they are found by it.
 * Key: a page; a policy's place. The counters of kcm_fl_idx are written when a set has just come in
 * force.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, KCM_FL_PAGE); /* a value may have no more than 4 MiB before 6.9 */
} kcm_fl_src SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct kcm_fl_line);
} kcm_fl_idx SEC(".maps");

#endif
