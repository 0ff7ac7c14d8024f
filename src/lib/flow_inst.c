// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* flow_inst.c - from an interface's name to the maps of the program in force. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include "../util.h"
#include "flow_edit.h"
#include "flow_inst.h"

#define PATHLEN	   (KCM_PIN_PATH + 64)
#define OPEN_TRIES 20

const char *const flow_map_name[FLOW_MAPS] = {
	[FLOW_H4] = "kcm_fl_h4",     [FLOW_E4] = "kcm_fl_e4",	    [FLOW_H6] = "kcm_fl_h6",
	[FLOW_E6] = "kcm_fl_e6",     [FLOW_POL] = "kcm_fl_pol",	    [FLOW_CNT] = "kcm_fl_cnt",
	[FLOW_STAT] = "kcm_fl_stat", [FLOW_LIM] = "kcm_fl_lim",	    [FLOW_FLIM] = "kcm_fl_flim",
	[FLOW_RING] = "kcm_fl_ring", [FLOW_BUN] = "kcm_fl_bun",	    [FLOW_CPUS] = "kcm_fl_cpus",
	[FLOW_NODE] = "kcm_fl_node", [FLOW_R4] = "kcm_fl_r4",	    [FLOW_R6] = "kcm_fl_r6",
	[FLOW_IV4] = "kcm_fl_iv4",   [FLOW_IV6] = "kcm_fl_iv6",	    [FLOW_SRC] = "kcm_fl_src",
	[FLOW_IDX] = "kcm_fl_idx",   [FLOW_RODATA] = "flow.rodata",
};

/* ---- the program and its maps ---- */

static void unmap_all(struct flow_inst *f)
{
	size_t n = f->conf.slots, cpus = f->cpus, s4 = f->conf.sets4, s6 = f->conf.sets6;

#define UNMAP(p, bytes)                   \
	do {                              \
		if (p)                    \
			munmap(p, bytes); \
		p = NULL;                 \
	} while (0)
	UNMAP(f->line, f->conf.policies * sizeof(*f->line));
	UNMAP(f->text, f->conf.text_bytes);
	UNMAP(f->pol, n * sizeof(*f->pol));
	UNMAP(f->cnt, cpus * n * sizeof(*f->cnt));
	UNMAP(f->stat, cpus * sizeof(*f->stat));
	UNMAP(f->h4, cpus * s4 * sizeof(*f->h4));
	UNMAP(f->e4, cpus * s4 * KCM_FL_WAYS * sizeof(*f->e4));
	UNMAP(f->h6, cpus * s6 * sizeof(*f->h6));
	UNMAP(f->e6, cpus * s6 * KCM_FL_WAYS * sizeof(*f->e6));
#undef UNMAP
}

static void program_close(struct flow_inst *f)
{
	unmap_all(f);
	for (int i = 0; i < FLOW_MAPS; i++) {
		if (f->map_fd[i] > 0)
			close(f->map_fd[i]);
		f->map_fd[i] = 0;
	}
	if (f->prog_fd >= 0)
		close(f->prog_fd);
	f->prog_fd = -1;
}

/* Take the map into its place, if it is one of ours. */
static int take_map(struct flow_inst *f, __u32 id)
{
	struct bpf_map_info info = { 0 };
	__u32 len = sizeof(info);
	int fd = bpf_map_get_fd_by_id(id);

	if (fd < 0)
		return -errno;
	if (bpf_obj_get_info_by_fd(fd, &info, &len)) {
		close(fd);
		return -errno;
	}
	for (int i = 0; i < FLOW_MAPS; i++)
		if (streq(info.name, flow_map_name[i]) && !f->map_fd[i]) {
			f->map_fd[i] = fd;
			return 0;
		}
	close(fd);
	return 0;
}

static int take_maps(struct flow_inst *f)
{
	struct bpf_prog_info info = { 0 };
	__u32 ids[64], len = sizeof(info), zero = 0;

	info.nr_map_ids = ARRAY_LEN(ids);
	info.map_ids = (__u64)(unsigned long)ids;
	if (bpf_obj_get_info_by_fd(f->prog_fd, &info, &len))
		return -errno;
	for (__u32 i = 0; i < info.nr_map_ids && i < ARRAY_LEN(ids); i++) {
		int err = take_map(f, ids[i]);

		if (err)
			return err;
	}
	for (int i = 0; i < FLOW_MAPS; i++)
		if (!f->map_fd[i])
			return -ESTALE;
	len = sizeof(struct bpf_map_info);
	struct bpf_map_info ro = { 0 };

	if (bpf_obj_get_info_by_fd(f->map_fd[FLOW_RODATA], &ro, &len))
		return -errno;
	if (ro.value_size != sizeof(f->conf))
		return -ESTALE;
	return bpf_map_lookup_elem(f->map_fd[FLOW_RODATA], &zero, &f->conf) ? -errno : 0;
}

static int map_one(void *at, const struct flow_inst *f, enum flow_map m, size_t bytes)
{
	int prot = PROT_READ | (f->writes ? PROT_WRITE : 0);
	void *p = bytes ? mmap(NULL, bytes, prot, MAP_SHARED, f->map_fd[m], 0) : NULL;

	if (p == MAP_FAILED)
		return -errno;
	*(void **)at = p;
	return 0;
}

static int map_all(struct flow_inst *f)
{
	size_t n = f->conf.slots, cpus = f->cpus;
	int err = map_one(&f->line, f, FLOW_IDX, f->conf.policies * sizeof(*f->line));

	err = err ?: map_one(&f->text, f, FLOW_SRC, f->conf.text_bytes);
	err = err ?: map_one(&f->pol, f, FLOW_POL, n * sizeof(*f->pol));
	err = err ?: map_one(&f->cnt, f, FLOW_CNT, cpus * n * sizeof(*f->cnt));
	return err ?: map_one(&f->stat, f, FLOW_STAT, cpus * sizeof(*f->stat));
}

static bool any_used(const struct kcm_fl_head *head, size_t n)
{
	static const __u16 none[KCM_FL_WAYS];

	for (size_t i = 0; i < n; i++)
		if (memcmp(head[i].tag, none, sizeof(none)))
			return true;
	return false;
}

int flow_inst_cache(struct flow_inst *f)
{
	size_t n4 = (size_t)f->cpus * f->conf.sets4, n6 = (size_t)f->cpus * f->conf.sets6;
	int err = 0;

	if (f->conf.no_cache)
		return 0;
	if (!f->h4)
		err = map_one(&f->h4, f, FLOW_H4, n4 * sizeof(*f->h4));
	if (!err && !f->h6)
		err = map_one(&f->h6, f, FLOW_H6, n6 * sizeof(*f->h6));
	if (!err && !f->e4 && any_used(f->h4, n4))
		err = map_one(&f->e4, f, FLOW_E4, n4 * KCM_FL_WAYS * sizeof(*f->e4));
	if (!err && !f->e6 && any_used(f->h6, n6))
		err = map_one(&f->e6, f, FLOW_E6, n6 * KCM_FL_WAYS * sizeof(*f->e6));
	return err;
}

int flow_inst_program(struct flow_inst *f, int prog_fd)
{
	int err;

	program_close(f);
	f->prog_fd = prog_fd;
	f->cpus = (__u32)libbpf_num_possible_cpus();
	err = take_maps(f);
	return err ?: map_all(f);
}

/* ---- links ---- */

static int link_program(struct flow_link *l)
{
	struct bpf_link_info info = { 0 };
	__u32 len = sizeof(info);

	if (bpf_obj_get_info_by_fd(l->fd, &info, &len))
		return -errno;
	l->ifindex = info.xdp.ifindex;
	l->prog_id = info.prog_id;
	return 0;
}

static int take_link(struct flow_inst *f, const char *file)
{
	struct flow_link *l = &f->link[f->links];
	char path[PATHLEN + NAME_MAX];

	if (f->links == KCM_FL_IFS)
		return -E2BIG;
	if (flow_link_ifname(l->ifname, file))
		return -ESTALE;
	snprintf(path, sizeof(path), "%s/%s", f->dir, file);
	l->fd = bpf_obj_get(path);
	if (l->fd < 0)
		return -errno;
	f->links++;
	return link_program(l);
}

static int take_links(struct flow_inst *f)
{
	_cleanup_dir_ DIR *d = opendir(f->dir);
	struct dirent *e;

	if (!d)
		return -errno;
	while ((e = readdir(d))) {
		int err = strncmp(e->d_name, FLOW_LINK, strlen(FLOW_LINK))
				  ? 0
				  : take_link(f, e->d_name);

		if (err)
			return err;
	}
	return f->links ? 0 : -ESTALE;
}

/*
 * A set is put in force on one interface after the other: somebody who was killed in between leaves
 * several. Programs' ids grow, so the highest is of the newest set.
 */
static int newest_program(struct flow_inst *f)
{
	__u32 id = 0;
	int fd;

	for (int tries = 0; tries < OPEN_TRIES; tries++) {
		for (__u32 i = 0; i < f->links; i++)
			if (f->link[i].prog_id > id)
				id = f->link[i].prog_id;
		fd = bpf_prog_get_fd_by_id(id);
		if (fd >= 0 || errno != ENOENT)
			break;
		/* Somebody has put another one in its place since: who reads has no lock. */
		id = 0;
		for (__u32 i = 0; i < f->links; i++)
			link_program(&f->link[i]);
	}
	return fd < 0 ? -errno : fd;
}

int flow_inst_open_name(struct flow_inst *f, const char *name, enum flow_open how)
{
	struct kcm_pin_info info;
	int err, fd;

	*f = (struct flow_inst)FLOW_INST_NONE;
	f->writes = how != FLOW_READ;
	if (how == FLOW_WRITE) {
		f->lock_fd = kcm_pin_lock();
		if (f->lock_fd < 0)
			return f->lock_fd;
	}
	err = kcm_pin_path(f->dir, sizeof(f->dir), FLOW_SYSTEM, name, NULL);
	if (err)
		return err;
	snprintf(f->name, sizeof(f->name), "%s", name);
	err = kcm_pin_info(FLOW_SYSTEM, name, &info);
	if (err)
		return err;
	if (info.layout != KCM_FLOW_LAYOUT)
		return -ESTALE;
	err = take_links(f);
	if (err)
		return err;
	fd = newest_program(f);
	if (fd < 0)
		return fd;
	err = flow_inst_program(f, fd);
	if (!err && f->writes)
		err = flow_finish(f);
	return err;
}

int flow_inst_open(struct flow_inst *f, const char *ifname, enum flow_open how)
{
	char name[KCM_PIN_NAME];
	int err = flow_inst_find(ifname, name, sizeof(name));

	*f = (struct flow_inst)FLOW_INST_NONE;
	err = err ?: flow_inst_open_name(f, name, how);
	/* Who may not see init's namespace may take another one's instance for his. */
	return err ?: f->conf.netns == flow_netns() ? 0 : -ENOENT;
}

void flow_inst_close(struct flow_inst *f)
{
	program_close(f);
	for (__u32 i = 0; i < f->links; i++)
		if (f->link[i].fd >= 0)
			close(f->link[i].fd);
	f->links = 0;
	if (f->lock_fd >= 0)
		close(f->lock_fd);
	f->lock_fd = -1;
}

/* ---- counters ---- */

struct kcm_fl_count flow_slot_count(const struct flow_inst *f, __u32 slot)
{
	struct kcm_fl_count sum = { 0 };

	for (__u32 cpu = 0; cpu < f->cpus; cpu++) {
		const struct kcm_fl_count *c = &f->cnt[(size_t)cpu * f->conf.slots + slot];

		sum.packets += __atomic_load_n(&c->packets, __ATOMIC_RELAXED);
		sum.bytes += __atomic_load_n(&c->bytes, __ATOMIC_RELAXED);
	}
	return sum;
}

struct kcm_fl_count flow_line_count(const struct flow_inst *f, __u32 at)
{
	struct kcm_fl_count sum = flow_slot_count(f, f->line[at].slot);

	sum.packets += f->line[at].packets;
	sum.bytes += f->line[at].bytes;
	return sum;
}
