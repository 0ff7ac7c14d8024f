// SPDX-License-Identifier: GPL-2.0
/* rx as one of the systems of unload and status. */
#include "cmd_rx.h"
#include "lib/rx_tune.h"
#include "system.h"

static int unload(const char *instance, bool force)
{
	return kcm_rx_untune(instance, force);
}

static int status(const char *instance, struct out *out)
{
	struct kcm_rx_tune t;
	int err = kcm_rx_tune_read(instance, &t);

	if (err)
		return err;
	out_u64(out, "port", t.port);
	out_u64(out, "listeners", t.listeners + t.adopted);
	return 0;
}

const struct kcm_system rx_system = {
	.name = "rx",
	.help = "Receive messages whose pages are mapped, not copied",
	.needs = FEAT(CAP_BPF) | FEAT(CAP_NET_ADMIN) | FEAT(CAP_PERFMON) | FEAT(BTF) | FEAT(BPFFS) |
		 FEAT(CGROUP2) | FEAT(SOCKOPS) | FEAT(MMAP_ARRAY) | FEAT(ITER_TCP) |
		 FEAT(TCP_ZEROCOPY),
	.layout = KCM_RX_LAYOUT,
	.cmds = rx_cmds,
	.load_with = "kcmtool rx tune --port PORT",
	.trial = kcm_rx_tune_trial,
	.unload = unload,
	.status = status,
};
