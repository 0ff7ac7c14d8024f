// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* flow_grace.c - what of time there is between a change and its end. */
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include "../util.h"
#include "flow_inst.h"

/*
 * membarrier(GLOBAL) is refused where CPUs run without a tick; an update of a map of maps waits for
 * programs too, as they may still use what it replaces (maybe_wait_bpf_programs()).
 */
static int grace_by_map(void)
{
	LIBBPF_OPTS(bpf_map_create_opts, o);
	_cleanup_fd_ int inner =
		bpf_map_create(BPF_MAP_TYPE_ARRAY, "kcm_fl_grace_i", 4, 4, 1, NULL);
	_cleanup_fd_ int outer = -1;
	__u32 zero = 0;

	if (inner < 0)
		return -errno;
	o.inner_map_fd = (__u32)inner;
	outer = bpf_map_create(BPF_MAP_TYPE_ARRAY_OF_MAPS, "kcm_fl_grace_o", 4, 4, 1, &o);
	if (outer < 0)
		return -errno;
	return bpf_map_update_elem(outer, &zero, &inner, BPF_ANY) ? -errno : 0;
}

int flow_grace(void)
{
	if (!syscall(__NR_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0))
		return 0;
	return grace_by_map();
}

/* An object would have to be read and relocated: a list of flows is printed in that time. */
int flow_now(__u64 *jiffies)
{
	static const struct bpf_insn insns[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = BPF_REG_6, .src_reg = BPF_REG_1 },
		{ .code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_jiffies64 },
		{ .code = BPF_STX | BPF_MEM | BPF_DW, .dst_reg = BPF_REG_6, .src_reg = BPF_REG_0 },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	LIBBPF_OPTS(bpf_prog_load_opts, o, .prog_flags = BPF_F_SLEEPABLE);
	LIBBPF_OPTS(bpf_test_run_opts, run, .ctx_in = jiffies, .ctx_size_in = sizeof(*jiffies));
	_cleanup_fd_ int fd = bpf_prog_load(BPF_PROG_TYPE_SYSCALL, "kcm_fl_now", "GPL", insns,
					    ARRAY_LEN(insns), &o);

	/* The context is written back. */
	return fd < 0 || bpf_prog_test_run_opts(fd, &run) ? -errno : 0;
}
