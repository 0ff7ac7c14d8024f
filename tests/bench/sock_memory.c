// SPDX-License-Identifier: GPL-2.0
/*
 * sock_memory.c - what state of a connection takes.
 *
 * A slot: the memory the kernel accounts for the maps, by slots. sk_storage: what the machine's
 * slab grows by with sockets that found no slot, less what it grows by with sockets alone.
 */
#include "sock_bench.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/sock_load.h"
#include "lib/sock_view.h"
#include "sock_pairs.h"

#define PAIRS	  10000
#define ROUNDS	  3
#define WHY_BYTES 160

/* "memlock" of the map's descriptor: what is accounted for it. */
static double map_bytes(int fd)
{
	char path[64], line[128];
	unsigned long long bytes = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "memlock: %llu", &bytes) == 1)
			break;
	if (f)
		fclose(f);
	return (double)bytes;
}

/* Growth of slab with 2 * PAIRS sockets, bytes a socket. */
static int slab_a_socket(double *bytes)
{
	long before = sb_meminfo_kib("Slab"), after;
	struct sb_pairs *p = sb_pairs_make(PAIRS);

	if (!p)
		return -errno;
	after = sb_meminfo_kib("Slab");
	sb_pairs_free(p);
	*bytes = (double)(after - before) * 1024 / (2 * PAIRS);
	/* Freed after a grace period: the next round must not find them. */
	bench_sleep_ns(BENCH_NS_PER_S);
	return 0;
}

/* With no slots but the fewest there can be, nearly all sockets are beyond them. */
static int storage_rows(const struct sb_opts *o, const struct sb_cgroup *cg, char *why)
{
	struct sock_load_opts opts = { .slots = KCM_SK_SLOTS_MIN, .n_cgroups = 1 };
	struct sb_row *row = sb_row(o->report, "memory", "a socket in sk_storage", "", "B");
	const char *dir = cg[1].dir;
	double alone, with;
	int err = 0;

	opts.cgroups = &dir;
	snprintf(row->note, sizeof(row->note),
		 "slab; and that of a bare TCP socket for comparison");
	snprintf(row->side_unit, sizeof(row->side_unit), "B");
	err = kcm_sock_load(&opts, why, WHY_BYTES);
	for (int i = 0; i < ROUNDS && !err; i++) {
		err = sb_cgroup_enter(&cg[0]);
		err = err ?: slab_a_socket(&alone);
		err = err ?: sb_cgroup_enter(&cg[1]);
		err = err ?: slab_a_socket(&with);
		if (err)
			break;
		sb_add(&row->figure, with - alone);
		sb_add(&row->ours, with);
		sb_add(&row->theirs, alone);
	}
	return err;
}

static int slot_rows(const struct sb_opts *o, char *why)
{
	struct sock_view v;
	struct sb_row *row;
	double all = 0;
	int err = sock_view_open(&v, false);

	if (err) {
		snprintf(why, WHY_BYTES, "maps of sock: %s", strerror(-err));
		return err;
	}
	row = sb_row(o->report, "memory", "a slot", "", "B");
	sb_add(&row->figure,
	       (map_bytes(v.fd[SOCK_HOT]) + map_bytes(v.fd[SOCK_IN]) + map_bytes(v.fd[SOCK_MORE])) /
		       v.ctl->cfg.slots);
	snprintf(row->note, sizeof(row->note),
		 "accounted for the maps; %zu in bytes of the structs",
		 sizeof(*v.hot) + sizeof(*v.in) + sizeof(*v.more));
	for (int i = 0; i < SOCK_MAPS; i++)
		if (i != SOCK_HOT && i != SOCK_IN && i != SOCK_MORE)
			all += map_bytes(v.fd[i]);
	row = sb_row(o->report, "memory", "the other maps", "", "KiB");
	sb_add(&row->figure, all / 1024);
	snprintf(row->note, sizeof(row->note), "once; without rings of watchers");
	sock_view_close(&v);
	return 0;
}

int sb_memory(const struct sb_opts *o)
{
	struct sb_cgroup cg[2] = {};
	unsigned int from = o->report->n;
	char why[WHY_BYTES] = "";
	int err = sb_cgroup_make(&cg[0], "bench-without");

	err = err ?: sb_cgroup_make(&cg[1], "bench-with");
	err = err ?: storage_rows(o, cg, why);
	err = err ?: slot_rows(o, why);
	if (err)
		fprintf(stderr, "bench_sock: memory: %s\n", why[0] ? why : strerror(-err));
	else
		sb_print(o->report, from);
	kcm_sock_unload(why, sizeof(why));
	sb_cgroup_leave(&cg[0]);
	sb_cgroup_remove(&cg[1]);
	sb_cgroup_remove(&cg[0]);
	return err;
}
