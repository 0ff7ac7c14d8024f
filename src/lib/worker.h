/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/* worker.h - inside of struct kcm_worker: worker.c receives, send.c replies. */
#ifndef KCM_WORKER_H
#define KCM_WORKER_H

#include "kcm.h"
#include "queue.h"
#include "wire.h"

#define WORKER_BATCH 64
#define WORKER_STAGE 65536 /* bytes of replies kept back for one connection */

struct wconn {
	int fd; /* -1: not asked for yet */
	uint32_t gen;
	bool home; /* in our epoll set */
};

struct kcm_worker {
	struct view v;
	int maps[VIEW_MAPS];
	int ctl; /* to the owner */
	int ep;	 /* bell, own eventfd, ctl */
	int owner_ev;
	int evs[KCM_WORKERS_MAX];
	int n_evs;
	int slot;
	uint8_t own; /* slot + 1 */
	bool asleep; /* our bit may be set in ctl->sleepers */
	bool off;
	bool may_home;
	bool slow;	/* our bit in ctl->slow is set */
	bool gone;	/* owner is gone */
	uint32_t epoch; /* of our owner */
	struct bell bell;
	struct wconn *conns;
	struct kcm_wstat *st;

	/* claimed and not given out yet */
	struct claim_ref refs[WORKER_BATCH];
	unsigned int n_refs, next_ref;
	unsigned int out;	/* given out and not released */
	unsigned int next_lane; /* has the next turn */

	/* how long the program takes for a message, to choose how many to claim at once */
	uint64_t given_ns;
	unsigned int given_n;
	uint64_t service_ns;

	/* replies kept back */
	kcm_conn_id stage_conn;
	size_t stage_bytes;
	unsigned int stage_msgs;
	int stage_err;
	uint8_t *stage;
};

static inline uint32_t id_slot(kcm_conn_id id)
{
	return (uint32_t)id;
}

static inline uint32_t id_gen(kcm_conn_id id)
{
	return (uint32_t)(id >> 32) - 1;
}

/* gen + 1, so that no id is 0 */
static inline kcm_conn_id make_id(uint32_t slot, uint32_t gen)
{
	return (uint64_t)(gen + 1) << 32 | slot;
}

/*
 * Is this mux another owner's by now? Then nothing in it is ours: neither to take nor to release.
 */
static inline bool worker_stale(const struct kcm_worker *w)
{
	return LOAD(&w->v.conf->epoch) != w->epoch;
}

/* Records from the owner that come by themselves. Return: 0, -EPIPE. */
int worker_control(struct kcm_worker *w, int flags);
/* Wait for a record of @type (for @conn unless 0). @fd: its descriptor. */
int worker_ask(struct kcm_worker *w, const struct wire_rec *ask, enum wire_type type,
	       struct wire_rec *rec, int *fd);
int worker_conn_fd(struct kcm_worker *w, kcm_conn_id id);
void worker_drop_conn(struct kcm_worker *w, uint32_t slot);
/* @n messages of @conn are over and done with. */
void worker_done(struct kcm_worker *w, kcm_conn_id conn, unsigned int n);
void worker_ring_owner(struct kcm_worker *w);

#endif
