// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * frame_test.bpf.c - kcm_frame_step() inside the kernel, driven as the verdict program drives it.
 *
 * SK_SKB programs have no BPF_PROG_TEST_RUN, SEC("syscall") ones have. All that survives an
 * iteration of bpf_loop() is in a map: Linux 6.1 verifies the callback for one iteration only and
 * removes branches that a constant-initialised variable on the stack makes look dead, so that the
 * program would misframe silently. test_frame_lockstep.c would see that.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include "frame_test.h"

#define KCM_POS(pos)	    ((pos)&TEST_POS_MASK)
#define KCM_LD8(base, pos)  (*((const __u8 *)(base) + KCM_POS(pos)))
#define KCM_LD64(base, pos) (*(const __u64 *)((const __u8 *)(base) + KCM_POS(pos)))
#include "frame.h"

const volatile struct kcm_frame kcm_desc = {};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct test_arena);
} kcm_t_arena SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct test_ctl);
} kcm_t_ctl SEC(".maps");

static long kcm_t_step(__u32 i, void *arg)
{
	__u32 zero = 0, avail;
	struct test_ctl *c = bpf_map_lookup_elem(&kcm_t_ctl, &zero);
	const void *base = bpf_map_lookup_elem(&kcm_t_arena, &zero);
	int r;

	if (!c || !base)
		return 1;
	avail = c->end - c->pos;
	if (!c->whole) {
		r = kcm_frame_step((const struct kcm_frame *)&kcm_desc, &c->state, base, c->pos,
				   avail);
		if (r == -EAGAIN)
			return 0;
		c->whole = r;
	}
	if (c->whole <= 0 || (__u32)c->whole > avail)
		return 1;
	c->len[c->n++ % TEST_MSGS] = c->whole;
	c->pos += c->whole;
	c->whole = 0;
	return 0;
}

SEC("syscall")
int kcm_t_frame(void *ctx)
{
	__u32 zero = 0;
	struct test_ctl *c = bpf_map_lookup_elem(&kcm_t_ctl, &zero);

	if (!c)
		return 1;
	if (bpf_loop(TEST_STEPS, kcm_t_step, NULL, 0) == TEST_STEPS)
		c->exhausted++;
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
