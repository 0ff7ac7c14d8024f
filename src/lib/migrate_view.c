// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* migrate_view.c - an instance of migrate, mapped. */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include "../util.h"
#include "migrate_view.h"
#include "pin.h"

static int open_pin(struct mg_view *v, const char *file, int *to)
{
	char path[sizeof(v->dir) + 32];

	snprintf(path, sizeof(path), "%s/%s", v->dir, file);
	*to = bpf_obj_get(path);
	return *to < 0 ? -errno : 0;
}

static int map_state(struct mg_view *v, bool write)
{
	void *p = mmap(NULL, sizeof(*v->mg), PROT_READ | (write ? PROT_WRITE : 0), MAP_SHARED,
		       v->state_fd, 0);

	if (p == MAP_FAILED)
		return -errno;
	v->mg = p;
	return 0;
}

static int open_all(struct mg_view *v)
{
	int err = open_pin(v, "kcm_mg_index", &v->index_fd);

	err = err ?: open_pin(v, "kcm_mg_wake", &v->wake_fd);
	err = err ?: open_pin(v, "kcm_mg_select", &v->select_fd);
	if (!mg_is_udp(v->mg))
		return err ?: open_pin(v, "kcm_mg_socks", &v->socks_fd);
	err = err ?: open_pin(v, "kcm_mg_udps", &v->udps_fd);
	err = err ?: open_pin(v, "kcm_mg_cids", &v->cids_fd);
	return err ?: open_pin(v, "kcm_mg_tell", &v->tell_fd);
}

int mg_view_open(struct mg_view *v, const char *name, bool write)
{
	struct mg_view none = MG_VIEW_NONE;
	struct kcm_pin_info info;
	int err = kcm_pin_info(MG_SYSTEM, name, &info);

	*v = none;
	if (err)
		return err;
	if (info.layout != KCM_MIGRATE_LAYOUT)
		return -ESTALE;
	err = kcm_pin_path(v->dir, sizeof(v->dir), MG_SYSTEM, name, NULL);
	err = err ?: open_pin(v, "kcm_mg", &v->state_fd);
	err = err ?: map_state(v, write);
	if (!err && write)
		err = open_all(v);
	if (!err && mg_is_udp(v->mg))
		err = open_pin(v, "kcm_mg_flows", &v->flows_fd);
	if (err)
		mg_view_close(v);
	return err;
}

void mg_view_close(struct mg_view *v)
{
	struct mg_view none = MG_VIEW_NONE;
	int *const fds[] = { &v->state_fd, &v->socks_fd, &v->index_fd, &v->wake_fd, &v->select_fd,
			     &v->udps_fd,  &v->flows_fd, &v->cids_fd,  &v->tell_fd };

	if (v->mg)
		munmap(v->mg, sizeof(*v->mg));
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		util_closep(fds[i]);
	*v = none;
}
