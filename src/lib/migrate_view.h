/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * migrate_view.h - an instance of migrate as user space sees and steers it.
 * Internal to libkcm and kcmtool.
 *
 * Pinned in migrate/NAME: kcm_mg (its state, mapped), kcm_mg_socks (sockhash: cookie -> listener),
 * kcm_mg_index (hash: cookie -> struct kcm_mg_ref), kcm_mg_wake (ring: a record for the keeper
 * whenever a listener opens or closes), kcm_mg_select and the links.
 *
 * Programs write to the state at any time: take single words, and look again. A word that the
 * header says user space writes is stored at once with __atomic_store_n().
 */
#ifndef KCM_MIGRATE_VIEW_H
#define KCM_MIGRATE_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include "../../bpf/migrate.h"

#define MG_SYSTEM "migrate"

struct mg_view {
	struct kcm_mg *mg;
	int state_fd, socks_fd, index_fd, wake_fd, select_fd; /* -1 where it was not asked for */
	char dir[128];
};

#define MG_VIEW_NONE                                                                           \
	{                                                                                      \
		.state_fd = -1, .socks_fd = -1, .index_fd = -1, .wake_fd = -1, .select_fd = -1 \
	}

/**
 * mg_view_open() - map the state of instance @name
 * @write: to steer it; opens the maps and the selector, too
 * Return: 0; -ENOENT not there; -ESTALE another version's; or -errno.
 */
int mg_view_open(struct mg_view *v, const char *name, bool write);
void mg_view_close(struct mg_view *v);

/* Listeners opened from now on are a generation of their own. Return: its number. */
int mg_generation_new(struct mg_view *v);

#endif
