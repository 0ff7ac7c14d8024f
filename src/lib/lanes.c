// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* lanes.c - who serves which lane, and how a lane changes hands without losing its order. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "owner.h"

/* Decide who is to serve each lane: the enabled workers in turn. */
void lanes_plan(struct kcm_mux *m)
{
	uint64_t active = LOAD(&m->v.ctl->active);
	uint32_t n = 0;
	uint8_t list[KCM_LANES];

	if (m->v.cfg.policy == KCM_POLICY_LEAST)
		return;
	for (uint64_t a = active; a; a &= a - 1)
		list[n++] = (uint8_t)__builtin_ctzll(a);
	for (uint32_t i = 0; i < KCM_LANES; i++) {
		if (m->v.cfg.policy == KCM_POLICY_ROBIN) {
			/* A lane a worker; those of absent ones are emptied by anybody. */
			m->lane_want[i] = active >> i & 1 ? (uint8_t)(i + 1) : 0;
		} else {
			m->lane_want[i] = n ? (uint8_t)(list[i % n] + 1) : 0xff;
		}
	}
	if (m->v.cfg.policy == KCM_POLICY_ROBIN) {
		memcpy(m->v.prod->route, list, n);
		STORE(&m->v.prod->n_route, n);
	}
	lanes_step(m);
}

/* Does this worker have a message of the lane? */
static bool lane_busy(struct kcm_mux *m, uint32_t lane, uint8_t own)
{
	for (uint32_t id = 0; id < m->v.n_chunks; id++) {
		struct kcm_chunk *ch = &m->v.chunks[id];

		if (KCM_STATE_ST(LOAD(&m->v.claims[id].state)) != KCM_CHUNK_PUB)
			continue;
		for (uint32_t i = 0; i < ch->n && i < KCM_CHUNK_MSGS; i++) {
			uint8_t b = (uint8_t)(LOAD(&m->v.claims[id].own[i / 8]) >> (8 * (i % 8)));
			uint32_t l = m->v.cfg.policy == KCM_POLICY_CONN
					     ? m->v.conns[ch->conn].lane % KCM_LANES
					     : ch->lane[i] % KCM_LANES;

			if (b != KCM_OWN_DONE && (b & ~KCM_OWN_GIVEN) == own && l == lane)
				return true;
		}
	}
	return false;
}

/*
 * Move lanes to whom they are planned for. An ordered lane first belongs to nobody until its old
 * worker has none of its messages left.
 */
void lanes_step(struct kcm_mux *m)
{
	uint64_t moved = 0;

	m->lanes_moving = false;
	for (uint32_t i = 0; i < KCM_LANES; i++) {
		uint8_t is = LOAD(&m->v.ctl->lane_owner[i]), want = m->lane_want[i];

		if (is == want)
			continue;
		if (m->v.cfg.policy == KCM_POLICY_ROBIN) {
			__atomic_store_n(&m->v.ctl->lane_owner[i], want, __ATOMIC_SEQ_CST);
			moved |= 1ULL << i;
			continue;
		}
		if (is != 0xff && is) {
			m->lane_from[i] = is;
			__atomic_store_n(&m->v.ctl->lane_owner[i], 0xff, __ATOMIC_SEQ_CST);
		}
		if (m->lane_from[i]) {
			uint32_t w = m->lane_from[i] - 1U;

			if (w < KCM_WORKERS_MAX && m->members[w].welcomed &&
			    (__atomic_load_n(&m->v.wstats[w].claiming, __ATOMIC_SEQ_CST) ||
			     lane_busy(m, i, m->lane_from[i]))) {
				m->lanes_moving = true;
				continue;
			}
			m->lane_from[i] = 0;
		}
		__atomic_store_n(&m->v.ctl->lane_owner[i], want, __ATOMIC_SEQ_CST);
		moved |= 1ULL << i;
	}
	if (moved)
		drain_wake(m, moved);
}
