/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/* mux_file.h - a pinned mux: open its maps, lock it as owner. Internal. */
#ifndef KCM_MUX_FILE_H
#define KCM_MUX_FILE_H

#include "kcm.h"
#include "view.h"

#define MUX_RUN_DIR "/run/kcm/mux"

int mux_open_maps(const char *name, int fds[VIEW_MAPS], enum view_map shared_rw);
void mux_close_maps(int fds[VIEW_MAPS]);
int mux_owner_lock(const char *name);
/* Remove /run/kcm/mux and /run/kcm if nobody else uses them. */
void mux_rundir_leave(void);
void mux_reset_lanes(struct view *v);

#endif
