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
	size_t bytes;
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

/* Sum over a generation's listeners, those that closed included. */
struct mg_totals {
	__u64 given, in, out, refused;
};
void mg_gen_totals(const struct kcm_mg *mg, int group, int gen, struct mg_totals *t);

/* The group's generation with the number @id, or -1. */
int mg_gen_find(const struct kcm_mg_group *g, __u32 id);

/* What an operator tells. @gen is an index. Return: 0 or -errno: -ESRCH it has no listener. */
int mg_promote(struct mg_view *v, int group, int gen); /* it works from now on, newer ones don't */
int mg_rollback(struct mg_view *v, int group);	       /* to the one before; -ENOENT: none */
int mg_drain(struct mg_view *v, int group, int gen);   /* no new connections */
int mg_weight(struct mg_view *v, int group, int gen, __u32 percent); /* -EINVAL: over 100 in sum */
/* Listeners opened from now on are a generation of their own. Return: its number or -errno. */
int mg_generation_new(struct mg_view *v);
/* Newest generations work again by themselves: takes back promote and rollback. */
int mg_release(struct mg_view *v, int group);

/* Append to the log that `watch` reads; for the keeper. */
void mg_log(struct mg_view *v, int group, enum kcm_mg_event_kind kind, __u32 why);

const char *mg_policy_name(unsigned int policy);
int mg_policy_parse(const char *name); /* or -EINVAL */
const char *mg_gen_state_name(unsigned int state);
/* "save_syn fastopen", or "plain"; @size 64 is enough. */
const char *mg_kind_text(unsigned int kind, char *text, size_t size);

#endif
