// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* drain_big.c - messages above the biggest chunk, read straight into big memory. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "drain.h"

static bool big_publish(struct kcm_mux *m, struct oconn *o)
{
	int id = drain_chunk(m, 1);
	uint32_t lane;

	if (id < 0)
		return false;
	m->v.chunks[id].kind = KCM_CHUNK_BIG;
	m->v.chunks[id].big_off = o->big_off;
	m->v.chunks[id].msg[0].off = 0;
	m->v.chunks[id].msg[0].len = (uint32_t)o->big_need;
	lane = queue_lane_of(&m->v, o->slot, m->v.big + o->big_off, (uint32_t)o->big_need);
	m->v.chunks[id].lane[0] = (uint8_t)lane;
	big_published(m, o->big_off, (uint32_t)id);
	if (!drain_publish(m, o, (uint32_t)id, 1, o->big_need, 1ULL << lane))
		return false;
	m->v.conf->big_msgs++;
	o->big_on = false;
	o->need = 0;
	return true;
}

/* What kcm_detach() had read before it gave up comes before what is in the socket. */
static ssize_t left_read(struct kcm_mux *m, struct oconn *o, uint8_t *to, size_t room)
{
	if (!o->left_n)
		return drain_read(o, to, room);
	if (room > o->left_n)
		room = o->left_n;
	memcpy(to, o->left, room);
	left_cut(m, o, (uint32_t)room);
	return (ssize_t)room;
}

/* Read on into the big message. Return as drain_read(), 1 when it is whole and published. */
ssize_t drain_big_read(struct kcm_mux *m, struct oconn *o)
{
	struct kcm_conn *c = &m->v.conns[o->slot];
	uint8_t *to = m->v.big + o->big_off;
	ssize_t r;

	if (o->big_need && o->big_have == o->big_need)
		return big_publish(m, o) ? 1 : -ENOSPC;
	if (o->big_have == o->big_cap) {
		/* Length not known, and more than we thought: move to a place twice as long. */
		uint64_t cap = o->big_cap * 2;
		int64_t off;

		if (cap > m->v.cfg.max_bytes)
			cap = m->v.cfg.max_bytes;
		if (cap <= o->big_cap)
			return -EMSGSIZE;
		off = big_alloc(m, cap);
		if (off < 0)
			return -ENOSPC;
		memcpy(m->v.big + off, to, o->big_have);
		big_free(m, o->big_off);
		o->big_off = (uint64_t)off;
		o->big_cap = cap;
		to = m->v.big + o->big_off;
	}
	r = left_read(m, o, to + o->big_have,
		      o->big_need ? o->big_need - o->big_have : o->big_cap - o->big_have);
	if (r <= 0)
		return r;
	o->big_have += (uint64_t)r;
	if (!o->big_need) {
		int len = drain_frame(m, c, to, (uint32_t)o->big_have);

		if (len < 0)
			return len;
		if (!len)
			return r;
		o->big_need = (uint32_t)len;
		if (o->big_have > o->big_need) {
			/* What follows it is another message's. */
			if (left_put(m, o, to + o->big_need, o->big_have - o->big_need, true))
				return -ENOMEM;
			o->big_have = o->big_need;
		} else if (o->big_need > o->big_cap) {
			int64_t off = big_alloc(m, o->big_need);

			if (off < 0) {
				o->big_need = 0;
				return -ENOSPC;
			}
			memcpy(m->v.big + off, to, o->big_have);
			big_free(m, o->big_off);
			o->big_off = (uint64_t)off;
			o->big_cap = o->big_need;
		}
	}
	if (o->big_have == o->big_need)
		return big_publish(m, o) ? 1 : -ENOSPC;
	return r;
}

/* The message at left is longer than a window: go on in big memory. */
int drain_big_start(struct kcm_mux *m, struct oconn *o)
{
	struct kcm_conn *c = &m->v.conns[o->slot];
	uint64_t cap = o->need ? o->need : 4ULL * KCM_CHUNK2_BYTES;
	uint32_t take = o->left_n;
	int64_t off;

	if (cap > m->v.cfg.max_bytes)
		cap = m->v.cfg.max_bytes;
	/* What follows the message stays. */
	if (o->need && o->need < take)
		take = o->need;
	if (take > m->v.cfg.max_bytes)
		take = m->v.cfg.max_bytes;
	if (cap < take)
		cap = take;
	off = big_alloc(m, cap);
	if (off < 0)
		return -ENOSPC;
	memcpy(m->v.big + off, o->left, take);
	if (!o->need) {
		/* More was left than the window showed: its end may be among that. */
		int len;

		kcm_frame_restart(&c->fs, !c->msgs);
		len = drain_frame(m, c, m->v.big + off, take);
		if (len < 0 || (uint64_t)len > cap) {
			big_free(m, (uint64_t)off);
			o->need = len < 0 ? 0 : (uint32_t)len;
			return len < 0 ? len : drain_big_start(m, o);
		}
		o->need = (uint32_t)len;
	}
	if (o->need && o->need < take)
		take = o->need;
	o->big_on = true;
	o->big_off = (uint64_t)off;
	o->big_have = take;
	o->big_need = o->need;
	o->big_cap = cap;
	left_cut(m, o, take);
	return 0;
}
