// SPDX-License-Identifier: GPL-2.0
/* mux as one of the systems of load, unload and status. */
#include <errno.h>
#include "feature.h"
#include "lib/pin.h"
#include "mux.h"
#include "system.h"

static int mux_load(void)
{
	struct kcm_pin_txn txn;
	int err = kcm_pin_begin(&txn, "mux", "default", KCM_MUX_LAYOUT, false);

	return err ? err : kcm_pin_commit(&txn);
}

static int mux_unload(const char *instance, bool force)
{
	(void)force;
	return kcm_pin_remove("mux", instance);
}

static const struct cmd mux_cmds[] = { { 0 } };

const struct kcm_system mux_system = {
	.name = "mux",
	.help = "Whole messages from many TCP connections to many workers, and back",
	.needs = FEAT(CAP_BPF) | FEAT(CAP_NET_ADMIN) | FEAT(KERNEL_SAFE) | FEAT(BTF) | FEAT(BPFFS) |
		 FEAT(SOCKHASH) | FEAT(BPF_LOOP) | FEAT(RINGBUF) | FEAT(RINGBUF_INNER) |
		 FEAT(MMAP_ARRAY) | FEAT(TIMER) | FEAT(CMPXCHG),
	.layout = KCM_MUX_LAYOUT,
	.cmds = mux_cmds,
	.load = mux_load,
	.unload = mux_unload,
};
