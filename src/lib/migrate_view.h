/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * migrate_view.h - an instance of migrate as user space sees and steers it.
 * Internal to libkcm and kcmtool.
 *
 * Pinned in migrate/NAME: kcm_mg (its state, mapped), kcm_mg_socks (sockhash: cookie -> listener),
 * kcm_mg_index (hash: cookie -> struct kcm_mg_ref), kcm_mg_wake (ring: a record for the keeper
 * whenever a listener opens or closes), kcm_mg_select and the links. Of UDP, instead of
 * kcm_mg_socks: kcm_mg_udps, kcm_mg_flows, kcm_mg_cids and kcm_mg_tell, see migrate_udp.h.
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
	int udps_fd, flows_fd, cids_fd, tell_fd; /* UDP; flows_fd also without @write */
	char dir[128];
};

#define MG_VIEW_NONE                                                                            \
	{                                                                                       \
		.state_fd = -1, .socks_fd = -1, .index_fd = -1, .wake_fd = -1, .select_fd = -1, \
		.udps_fd = -1, .flows_fd = -1, .cids_fd = -1, .tell_fd = -1                     \
	}

static inline bool mg_is_udp(const struct kcm_mg *mg)
{
	return mg->ctl.protocol == 17; /* IPPROTO_UDP */
}

/**
 * mg_view_open() - map the state of instance @name
 * @write: to steer it; opens the maps and the selector, too
 * Return: 0; -ENOENT not there; -ESTALE another version's; or -errno.
 */
int mg_view_open(struct mg_view *v, const char *name, bool write);
void mg_view_close(struct mg_view *v);

/* ---- to read ---- */

/* Sum over a generation's listeners, those that closed included. */
struct mg_totals {
	__u64 given, in, out, refused;
};
void mg_gen_totals(const struct kcm_mg *mg, int group, int gen, struct mg_totals *t);

/* The group's generation with the number @id, or -1. */
int mg_gen_find(const struct kcm_mg_group *g, __u32 id);

/* Is the selector in force? It goes with a group's last listener. */
bool mg_selector_on(const struct kcm_mg *mg, int group);

const char *mg_policy_name(unsigned int policy);
int mg_policy_parse(const char *name); /* or -EINVAL */
const char *mg_gen_state_name(unsigned int state);
/* "save_syn fastopen", or "plain". Return: @text; 64 bytes are enough. */
const char *mg_kind_text(unsigned int kind, char *text, size_t size);

/* ---- to steer; @gen is an index; 0 or -errno: -ESRCH it has no listener ---- */

/* It works from now on; if it is not the newest, newer ones don't take over by themselves. */
int mg_promote(struct mg_view *v, int group, int gen);
/* Back to the one that worked before, as promote. -ENOENT: there is none. */
int mg_rollback(struct mg_view *v, int group);
/*
 * The newest works again, once it has accepted a connection, and newer ones will: takes back
 * promote, rollback and weight.
 */
int mg_release(struct mg_view *v, int group);
/* No new connections to it. -ENOENT: nobody else would take them. */
int mg_drain(struct mg_view *v, int group, int gen);
/*
 * So many percent of new connections to it, the rest to the one that works, and it does not take
 * over by itself. -EINVAL: over 100 in sum; -EBUSY: it is the one that works.
 */
int mg_weight(struct mg_view *v, int group, int gen, __u32 percent);
/* Listeners opened from now on are a generation of their own. Return: its number. */
int mg_generation_new(struct mg_view *v);

#endif
