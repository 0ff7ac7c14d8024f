// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * flowbench.bpf.c - what it costs to find a packet's policy: parsed packets are in a map, and each
 * run takes the next one. kcm_t_none does all of it but the search.
 */
#include <stdbool.h>
#include <stddef.h>
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include "flow.h"

const volatile struct kcm_fl_conf kcm_fl_conf = { .genid = 1 };

#include "flow_maps.bpf.h"
#include "flow_parse.bpf.h"
#include "flow_match.bpf.h"
#include "flow_class.bpf.h"
#include "flowbench.h"

/* kcm_t_pk - packets. Key: place. Written by the benchmark. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, FLOWBENCH_PACKETS);
	__type(key, __u32);
	__type(value, struct flowbench_pk);
} kcm_t_pk SEC(".maps");

__u32 kcm_t_turn;

static __always_inline int next(struct look *l)
{
	__u32 turn = kcm_t_turn++ % FLOWBENCH_PACKETS;
	struct flowbench_pk *b = bpf_map_lookup_elem(&kcm_t_pk, &turn);
	struct pk p = {};

	if (!b)
		return -1;
	p.k6 = b->key;
	p.family = b->family;
	look_at(l, &p);
	l->slists = l->dlists = 1;
	l->rank = KCM_FL_NO_RANK;
	return 0;
}

SEC("xdp")
int kcm_t_none(struct xdp_md *ctx)
{
	struct look l;

	return next(&l) ? -1 : l.f[0] & 1;
}

SEC("xdp")
int kcm_t_find(struct xdp_md *ctx)
{
	struct look l;

	if (next(&l))
		return -1;
	look_through(&l);
	return l.slot;
}

char LICENSE[] SEC("license") = "GPL";
