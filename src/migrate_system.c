// SPDX-License-Identifier: GPL-2.0
/* migrate as one of the systems of unload and status. */
#include "cmd_migrate.h"
#include "keeper.h"
#include "lib/migrate_load.h"
#include "system.h"

static int unload(const char *instance, bool force)
{
	char note[256];
	int err;

	(void)force; /* groups go on with the kernel's hash */
	keeper_stop(instance);
	err = kcm_migrate_detach(instance, note, sizeof(note));
	if (note[0])
		warn("%s", note);
	return err;
}

static int status(const char *instance, struct out *out)
{
	_cleanup_migrate_ struct mg_view v = MG_VIEW_NONE;
	unsigned int listeners = 0;
	int err = mg_view_open(&v, instance, false);

	if (err)
		return err;
	for (int i = 0; i < KCM_MG_GROUPS; i++)
		listeners += v.mg->group[i].n;
	out_u64(out, "port", v.mg->ctl.port);
	out_u64(out, "listeners", listeners);
	return 0;
}

const struct kcm_system migrate_system = {
	.name = "migrate",
	.help = "Restart SO_REUSEPORT servers without losing connections",
	.needs = FEAT(CAP_BPF) | FEAT(CAP_NET_ADMIN) | FEAT(CAP_PERFMON) | FEAT(BTF) | FEAT(BPFFS) |
		 FEAT(CGROUP2) | FEAT(SOCKHASH) | FEAT(SOCKOPS) | FEAT(RINGBUF) | FEAT(MMAP_ARRAY) |
		 FEAT(CMPXCHG) | FEAT(REUSEPORT_MIGRATE) | FEAT(ITER_TCP),
	.layout = KCM_MIGRATE_LAYOUT,
	.cmds = migrate_cmds,
	.load_with = "kcmtool migrate attach --port PORT",
	.trial = kcm_migrate_trial,
	.unload = unload,
	.status = status,
};
