// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* runq.c - streams that wait for their turn or for space; waking workers from the owner. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "drain.h"

void drain_queue(struct kcm_mux *m, struct oconn *o, bool starved)
{
	if (starved && !o->starved)
		m->n_starved++;
	if (!starved && o->starved)
		m->n_starved--;
	o->starved = starved;
	if (o->linked)
		return;
	o->linked = true;
	o->next = NULL;
	*m->run_tail = o;
	m->run_tail = &o->next;
}

void drain_unqueue(struct kcm_mux *m, struct oconn *o)
{
	struct oconn **at;

	if (o->starved)
		m->n_starved--;
	o->starved = false;
	if (!o->linked)
		return;
	for (at = &m->run; *at != o; at = &(*at)->next)
		;
	*at = o->next;
	if (m->run_tail == &o->next)
		m->run_tail = at;
	o->linked = false;
}

/*
 * One turn for each that is queued now. When the last chunk is gone the rest keep their places:
 * the next free one is theirs, and nobody looks in vain.
 */
void drain_run(struct kcm_mux *m)
{
	struct oconn *o = m->run, *last = o, *next;

	while (last && last->next)
		last = last->next;
	m->no_room = false;
	for (bool end = !o; !end; o = next) {
		end = o == last;
		next = o->next;
		if (m->no_room && o->starved)
			continue;
		drain_unqueue(m, o);
		drain(m, o);
	}
}

/* A chunk of at least @bytes, noting when there is none at all. */
int drain_chunk(struct kcm_mux *m, uint32_t bytes)
{
	int id = queue_chunk_new(&m->v, bytes);

	if (id < 0 && bytes <= KCM_CHUNK0_BYTES) {
		m->no_room = true;
		m->no_room_ns = now_ns();
	}
	return id;
}

static bool wake(struct kcm_mux *m, uint64_t mask)
{
	uint64_t one = 1;
	int s;

	/* Bits without a worker are somebody's mistake: they must not swallow the wake-up. */
	while ((s = queue_take_sleeper(&m->v, mask)) >= 0)
		if (s < (int)m->v.conf->n_workers && write(m->evs[s], &one, sizeof(one)) > 0)
			return true;
	return false;
}

void drain_wake(struct kcm_mux *m, uint64_t lanes)
{
	uint64_t mask = LOAD(&m->v.ctl->active);

	if (m->v.cfg.policy != KCM_POLICY_LEAST) {
		uint64_t who = 0;

		for (int i = 0; i < KCM_LANES; i++)
			if (lanes >> i & 1) {
				uint8_t own = LOAD(&m->v.ctl->lane_owner[i]);

				who |= own && own <= KCM_WORKERS_MAX ? 1ULL << (own - 1) : mask;
			}
		while (wake(m, mask & who))
			;
		return;
	}
	/* One is enough: it wakes the next if there is more. But it may be stopped, or dying. */
	m->woke_one |= wake(m, mask);
}

/* Somebody was woken a while ago. If nobody has come, try another one. */
void drain_wake_again(struct kcm_mux *m)
{
	m->woke_one = !queue_lane_empty(&m->v, 0) && wake(m, LOAD(&m->v.ctl->active));
}
