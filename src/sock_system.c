// SPDX-License-Identifier: GPL-2.0
/* sock as one of the systems of load, unload and status. */
#include <errno.h>
#include "cmd_sock.h"
#include "lib/cgroup.h"
#include "lib/sock_iter.h"
#include "lib/sock_load.h"
#include "lib/sock_sweep.h"
#include "system.h"

static int load_default(char *err, size_t size)
{
	int ret = kcm_sock_load(&(struct sock_load_opts){ 0 }, err, size);

	if ((!ret || ret == -EEXIST) && err[0])
		warn("%s", err);
	return ret;
}

static int trial(char *err, size_t size)
{
	return kcm_sock_load(&(struct sock_load_opts){ .trial = true }, err, size);
}

static int unload(const char *instance, bool force)
{
	char note[160];
	int err = kcm_sock_unload(note, sizeof(note));

	(void)instance, (void)force; /* there is one, and readers don't mind */
	if (note[0])
		warn("%s", note);
	return err;
}

/* "/sys/fs/cgroup /sys/fs/cgroup/a 4711 (removed)". Return: how many of them are removed. */
static int cgroups_text(const struct sock_cgroup *list, int n, FILE *f)
{
	char path[PATH_MAX];
	int gone = 0;

	for (int i = 0; i < n; i++) {
		fputs(i ? " " : "", f);
		if (!list[i].gone && !cgroup_path(list[i].id, path))
			fputs(path, f);
		else
			fprintf(f, "%llu", (unsigned long long)list[i].id);
		fputs(list[i].gone ? " (removed)" : "", f);
		gone += list[i].gone;
	}
	return gone;
}

static int status(const char *instance, struct out *out)
{
	struct sock_cgroup list[SOCK_CGROUPS];
	int n = kcm_sock_cgroups(list, SOCK_CGROUPS), gone;
	_cleanup_free_ char *text = NULL;
	struct sock_sweep total;
	struct sock_view v;
	size_t size;
	FILE *f;

	(void)instance;
	if (n < 0)
		return n;
	f = open_memstream(&text, &size);
	if (!f)
		return -errno;
	gone = cgroups_text(list, n, f);
	fclose(f);
	out_str(out, "cgroups", text);
	out_i64(out, "cgroups_removed", gone);
	out_str(out, "iterators", sock_iter_by_files(SOCK_PIN_DIR) ? "files" : "maps");
	if (!sock_view_open(&v, false)) {
		out_u64(out, "slots", v.ctl->cfg.slots);
		out_u64(out, "beyond_slots", v.ctl->beyond);
		out_u64(out, "without_storage", v.ctl->no_storage);
		sock_view_close(&v);
	}
	if (!kcm_sock_swept(&total)) {
		out_u64(out, "adopted", total.adopted);
		out_u64(out, "adopted_without_slot", total.unslotted);
		out_u64(out, "swept", total.swept);
	}
	return 0;
}

const struct kcm_system sock_system = {
	.name = "sock",
	.help = "State of every connection: bytes, messages, latency, labels, limits",
	.needs = FEAT(CAP_BPF) | FEAT(CAP_NET_ADMIN) | FEAT(CAP_PERFMON) | FEAT(BTF) | FEAT(BPFFS) |
		 FEAT(CGROUP2) | FEAT(SOCKOPS) | FEAT(SK_STORAGE) | FEAT(RINGBUF_INNER) |
		 FEAT(MMAP_ARRAY) | FEAT(CMPXCHG) | FEAT(CGROUP_SKB) | FEAT(CGROUP_SOCK) |
		 FEAT(CGROUP_CONNECT) | FEAT(ITER_TCP) | FEAT(ITER_MAP) | FEAT(LIVE_SOCKOPS),
	.layout = KCM_SOCK_LAYOUT,
	.cmds = sock_cmds,
	.load = load_default,
	.trial = trial,
	.unload = unload,
	.status = status,
};
