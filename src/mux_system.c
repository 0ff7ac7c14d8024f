// SPDX-License-Identifier: GPL-2.0
/* mux as one of the systems of load, unload and status. */
#include "cmd_mux.h"
#include "feature.h"
#include "lib/kcm.h"
#include "mux.h"
#include "system.h"

/* What most protocols of our time have: a length of four bytes, big-endian. */
#define DEFAULT_FRAME "u32be"

static int mux_load(char *err, size_t size)
{
	struct kcm_mux_opts opts = { .sz = sizeof(opts) };
	int code = kcm_frame_parse(DEFAULT_FRAME, &opts.frame, err, size);

	return code ? code : kcm_mux_create("default", &opts, err, size);
}

static int mux_unload(const char *instance, bool force)
{
	return kcm_mux_delete(instance, force);
}

const struct kcm_system mux_system = {
	.name = "mux",
	.help = "Whole messages from many TCP connections to many workers, and back",
	.needs = FEAT(CAP_BPF) | FEAT(CAP_NET_ADMIN) | FEAT(CAP_PERFMON) | FEAT(KERNEL_SAFE) |
		 FEAT(BTF) | FEAT(BPFFS) | FEAT(SOCKHASH) | FEAT(BPF_LOOP) | FEAT(RINGBUF) |
		 FEAT(RINGBUF_INNER) | FEAT(MMAP_ARRAY) | FEAT(TIMER) | FEAT(CMPXCHG),
	.layout = KCM_MUX_LAYOUT,
	.cmds = mux_cmds,
	.load = mux_load,
	.unload = mux_unload,
};
