// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* flow_grace.c - what of time there is between a change and its end. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include "../util.h"
#include "flow_inst.h"
#include "flownow.skel.h"

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

int flow_now(__u64 *jiffies)
{
	LIBBPF_OPTS(bpf_test_run_opts, run);
	struct flownow *s = flownow__open_and_load();
	int err;

	if (!s)
		return -errno;
	err = bpf_prog_test_run_opts(bpf_program__fd(s->progs.kcm_fl_now), &run) ? -errno : 0;
	*jiffies = err ? 0 : s->bss->kcm_fl_time;
	flownow__destroy(s);
	return err;
}
