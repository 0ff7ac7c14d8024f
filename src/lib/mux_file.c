// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* mux_file.c - a pinned mux: open its maps, lock it as owner, remove it. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <bpf/bpf.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#include "mux_file.h"
#include "pin.h"
#include "queue.h"

/* Positions begin one lap in, so that a zeroed cell is nobody's. */
void mux_reset_lanes(struct view *v)
{
	memset(v->cells, 0, sizeof(*v->cells) * (v->cfg.cell_mask + 1) * KCM_LANES);
	for (int i = 0; i < KCM_LANES; i++)
		v->lanes[i].head = v->lanes[i].tail = v->cfg.cell_mask + 1;
}

/* Open maps of a pinned mux. @shared_rw: maps before it are opened read-only. */
int mux_open_maps(const char *name, int fds[VIEW_MAPS], enum view_map shared_rw)
{
	char path[KCM_PIN_PATH];
	int err;

	for (int i = 0; i < VIEW_MAPS; i++)
		fds[i] = -1;
	for (int i = 0; i < VIEW_MAPS; i++) {
		LIBBPF_OPTS(bpf_obj_get_opts, o,
			    .file_flags = i < (int)shared_rw ? BPF_F_RDONLY : 0);

		err = kcm_pin_path(path, sizeof(path), "mux", name, view_map_names[i]);
		if (!err) {
			fds[i] = bpf_obj_get_opts(path, &o);
			err = fds[i] < 0 ? -errno : 0;
		}
		if (err) {
			mux_close_maps(fds);
			return err;
		}
	}
	return 0;
}

void mux_close_maps(int fds[VIEW_MAPS])
{
	for (int i = 0; i < VIEW_MAPS; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
		fds[i] = -1;
	}
}

/*
 * The pin directory's lock says that an owner lives: it goes with the process, however that ends.
 */
int mux_owner_lock(const char *name)
{
	char path[KCM_PIN_PATH];
	int err = kcm_pin_path(path, sizeof(path), "mux", name, NULL), fd;

	if (err)
		return err;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		err = errno == EWOULDBLOCK ? -EBUSY : -errno;
		close(fd);
		return err;
	}
	return fd;
}

void mux_rundir_leave(void)
{
	rmdir(MUX_RUN_DIR);
	rmdir("/run/kcm");
}

int kcm_mux_delete(const char *name, int force)
{
	char path[KCM_PIN_PATH];
	int fd, err;

	if (!kcm_pin_name_ok(name))
		return -EINVAL;
	fd = mux_owner_lock(name);
	/* One that is not there may be half removed: kcm_pin_remove() clears that, and says so. */
	if (fd < 0 && fd != -ENOENT && !(fd == -EBUSY && force))
		return fd;
	err = kcm_pin_remove("mux", name);
	if (!err && fd >= 0) {
		/* An owner that was killed leaves its socket. */
		snprintf(path, sizeof(path), MUX_RUN_DIR "/%s.sock", name);
		unlink(path);
		mux_rundir_leave();
	}
	if (fd >= 0)
		close(fd);
	return err;
}
