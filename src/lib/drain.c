// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * drain.c - a held stream: read it from the socket, frame it, publish it, and give it back to BPF
 * at the sequence number where we stopped.
 *
 * Order is kept because exactly one side frames a stream at any time, and BPF goes on only at an
 * skb that begins where we ended. An skb that was passed to the socket while we gave the stream
 * back is seen by the look at the end, or wakes us by EPOLLIN, which we keep until
 * KCM_BELL_RESUMED.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "drain.h"

#define STRP_END_NS 200000000ULL
#define TURN_BYTES  (512U * 1024) /* then another connection has its turn */

/* Read bytes of the stream. Return: > 0, 0 end, -EAGAIN, -errno. */
ssize_t drain_read(struct oconn *o, uint8_t *to, size_t room)
{
	for (;;) {
		size_t want = o->skip && o->skip < room ? o->skip : room;
		ssize_t r = recv(o->fd, to, want, MSG_DONTWAIT);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (!r)
			return 0;
		o->pos += (uint32_t)r;
		if (!o->skip)
			return r;
		/* BPF had settled these before it gave up. */
		o->skip -= (uint32_t)r < o->skip ? (uint32_t)r : o->skip;
	}
}

int drain_frame(struct kcm_mux *m, struct kcm_conn *c, const uint8_t *p, uint32_t n)
{
	int ret;

	do {
		ret = kcm_frame_step(&m->v.conf->frame, &c->fs, p, 0, n);
	} while (ret == -EAGAIN);
	return ret;
}

bool drain_publish(struct kcm_mux *m, struct oconn *o, uint32_t id, uint32_t n, uint64_t bytes,
		   uint64_t lanes)
{
	struct kcm_conn *c = &m->v.conns[o->slot];

	m->v.chunks[id].conn = o->slot;
	m->v.chunks[id].conn_gen = o->gen;
	if (queue_publish(&m->v, id, n, lanes)) {
		queue_chunk_drop(&m->v, id);
		return false;
	}
	c->msgs += n;
	c->bytes += bytes;
	m->v.conf->owner_msgs += n;
	m->v.conf->owner_bytes += bytes;
	drain_wake(m, lanes);
	return true;
}

static int window_chunk(struct kcm_mux *m)
{
	static const uint32_t sizes[] = { KCM_CHUNK2_BYTES, KCM_CHUNK1_BYTES, KCM_CHUNK0_BYTES };

	for (int i = 0; i < 3; i++) {
		int id = drain_chunk(m, sizes[i]);

		if (id >= 0)
			return id;
	}
	return -ENOSPC;
}

/*
 * One chunk: what is left, then what the socket has. Publishes the whole messages.
 * Return: > 0 go on; 0 end of stream; -EAGAIN nothing more now; -ENOSPC; other -errno: bad frame
 * (-EPROTO, -EMSGSIZE) or socket error.
 */
static ssize_t window(struct kcm_mux *m, struct oconn *o)
{
	struct kcm_conn *c = &m->v.conns[o->slot];
	int id = window_chunk(m), ret = 0;
	uint32_t size, have, pos = 0, n = 0;
	struct kcm_chunk *ch;
	uint64_t lanes = 0;
	ssize_t r = 1;
	uint8_t *p;

	if (id < 0)
		return -ENOSPC;
	ch = &m->v.chunks[id];
	size = ch->size_bytes;
	p = view_chunk_data(&m->v, ch);
	have = o->left_n < size ? o->left_n : size;
	if (have)
		memcpy(p, o->left, have);
	if (have == o->left_n && have < size) {
		/* With much left over already, don't let every connection add a chunkful. */
		uint32_t room = m->left_bytes > OWNER_LEFT_MAX ? KCM_CHUNK0_BYTES : UINT32_MAX;

		if (o->left_n && m->left_bytes > OWNER_LEFT_MAX && !o->hup)
			r = -ENOSPC;
		else
			r = drain_read(o, p + have, room < size - have ? room : size - have);
		if (r > 0)
			have += (uint32_t)r;
	}
	kcm_frame_restart(&c->fs, !c->msgs);
	while (n < KCM_CHUNK_MSGS && pos < have) {
		ret = drain_frame(m, c, p + pos, have - pos);
		if (ret <= 0 || (uint32_t)ret > have - pos)
			break;
		ch->msg[n].off = pos;
		ch->msg[n].len = (uint32_t)ret;
		ch->lane[n] = (uint8_t)queue_lane_of(&m->v, o->slot, p + pos, (uint32_t)ret);
		lanes |= 1ULL << ch->lane[n];
		if ((uint32_t)ret > c->len_hint)
			c->len_hint = (uint32_t)ret;
		n++;
		pos += (uint32_t)ret;
		ret = 0;
	}
	/* Save what is unfinished first: a published chunk may be somebody else's at once. */
	if (o->left_n)
		left_cut(m, o, o->left_n < size ? o->left_n : size);
	if (left_put(m, o, p + pos, have - pos, true)) {
		queue_chunk_drop(&m->v, (uint32_t)id);
		return -ENOMEM;
	}
	ch->kind = KCM_CHUNK_DATA;
	if (!n) {
		queue_chunk_drop(&m->v, (uint32_t)id);
	} else {
		if (!drain_publish(m, o, (uint32_t)id, n, pos, lanes)) {
			/* No lane cell. The chunk was ours all the time: its bytes are still there.
			 */
			if (left_put(m, o, p, pos, true))
				return -ENOMEM;
			return -ENOSPC;
		}
		o->partial_ns = 0;
	}
	o->need = 0;
	if (ret < 0)
		return ret;
	if (n == KCM_CHUNK_MSGS)
		return 1;
	o->need = (uint32_t)ret;
	if (o->left_n && !o->partial_ns)
		o->partial_ns = now_ns();
	if (o->left_n)
		owner_arm_timeout(m);
	if (o->need > KCM_CHUNK2_BYTES ||
	    (!o->need && !n && have == size && size >= KCM_CHUNK1_BYTES)) {
		ret = drain_big_start(m, o);
		return ret ? ret : 1;
	}
	/* A small chunk, and a message that needs a bigger one. */
	if (!n && have == size && size < KCM_CHUNK2_BYTES)
		return -ENOSPC;
	return r;
}

static void starve(struct kcm_mux *m, struct oconn *o)
{
	conn_watch(m, o, o->events | EPOLLIN);
	drain_queue(m, o, true);
}

/* Nothing more to read now. Return: true if there is after all. */
static bool give_back(struct kcm_mux *m, struct oconn *o)
{
	struct kcm_conn *c = &m->v.conns[o->slot];
	uint8_t b;

	conn_watch(m, o, o->events | EPOLLIN);
	if (o->big_on || o->stopped)
		return false;
	if (o->left_n && !left_give(m, o))
		return false; /* no room for BPF to go on with it: EPOLLIN brings the rest */
	if (o->left_n == 0 && !c->asm_chunk)
		o->partial_ns = 0;
	c->resume_seq = c->hold_seq + o->pos;
	__atomic_store_n(&c->state, KCM_CONN_RESUME, __ATOMIC_SEQ_CST);
	if (recv(o->fd, &b, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN)
		return false;
	return true;
}

/* What the stream parser says through the socket's error. */
static uint32_t strp_event(const struct kcm_mux *m, int error)
{
	if (m->v.cfg.mode == KCM_MODE_STRPARSER)
		switch (error) {
		case EPROTO:
			return KCM_BAD_FRAME;
		case EMSGSIZE:
			return KCM_TOO_BIG;
		case ETIMEDOUT:
			return KCM_TIMEOUT;
		}
	return KCM_CLOSED;
}

/*
 * End of a stream in mode strparser. The parser keeps half a message for ever and says nothing, so
 * compare what TCP received with what became messages. It may still work (strp_wq): wait a little.
 */
static void strp_end(struct kcm_mux *m, struct oconn *o)
{
	uint64_t now = now_ns();

	if (!o->eof_ns)
		o->eof_ns = now;
	if (tcp_received(o->fd) - o->rx_base == LOAD(&m->v.conns[o->slot].bytes))
		conn_end(m, o, KCM_CLOSED, 0);
	else if (now - o->eof_ns > STRP_END_NS)
		conn_end(m, o, KCM_TRUNCATED, EPIPE);
	else
		drain_queue(m, o, true);
}

void drain(struct kcm_mux *m, struct oconn *o)
{
	struct kcm_conn *c = &m->v.conns[o->slot];
	uint32_t turn = 0;

	if (o->stopped) {
		if (o->event_due)
			conn_end(m, o, o->event, o->error);
		conn_try_free(m, o);
		return;
	}
again:
	switch (LOAD(&c->state)) {
	case KCM_CONN_RESUME:
		if (!CAS(&c->state, KCM_CONN_RESUME, KCM_CONN_HELD) &&
		    LOAD(&c->state) != KCM_CONN_HELD)
			return;
		break;
	case KCM_CONN_HELD:
	case KCM_CONN_NEW:
		break;
	case KCM_CONN_ACTIVE: {
		/* The end of the stream, or an old wake-up. */
		uint8_t b;
		ssize_t r = recv(o->fd, &b, 1, MSG_PEEK | MSG_DONTWAIT);

		if (r < 0 && (errno == EAGAIN || errno == EINTR)) {
			if (m->v.cfg.mode == KCM_MODE_STRPARSER && o->rdhup)
				strp_end(m, o);
			return;
		}
		if (r > 0) {
			if (LOAD(&c->state) != KCM_CONN_ACTIVE)
				goto again;
			return;
		}
		if (r < 0) {
			conn_end(m, o, strp_event(m, errno), errno);
			return;
		}
		if (m->v.cfg.mode == KCM_MODE_STRPARSER) {
			strp_end(m, o);
			return;
		}
		conn_end(m, o, c->asm_chunk ? KCM_TRUNCATED : KCM_CLOSED, c->asm_chunk ? EPIPE : 0);
		return;
	}
	default:
		return;
	}
	if (LOAD(&c->state) == KCM_CONN_HELD && o->hold_id != c->hold_id) {
		o->hold_id = c->hold_id;
		o->pos = 0;
		o->partial_ns = 0;
		o->skip = c->hold_skip;
		if (c->hold < KCM_HOLD_MAX)
			m->v.conf->rr_holds[c->hold]++;
	}
	if (drain_take_asm(m, o)) {
		conn_end(m, o, KCM_CLOSED, ENOMEM);
		return;
	}
	for (;;) {
		uint32_t before = o->pos;
		ssize_t r;

		if (o->stopped)
			return;
		r = o->big_on ? drain_big_read(m, o) : window(m, o);
		turn += o->pos - before;
		if (r == -EAGAIN) {
			if (LOAD(&c->state) == KCM_CONN_NEW) {
				if (o->big_on || (o->left_n && !left_give(m, o)))
					conn_watch(m, o, o->events | EPOLLIN);
				else
					conn_opened(m, o);
				return;
			}
			if (give_back(m, o))
				goto again;
			return;
		}
		if (r == -ENOSPC) {
			starve(m, o);
			return;
		}
		if (r == -EMSGSIZE || r == -EPROTO) {
			conn_end(m, o, r == -EMSGSIZE ? KCM_TOO_BIG : KCM_BAD_FRAME, (int)-r);
			return;
		}
		if (r == 0) {
			bool cut = o->left_n || o->big_on;

			conn_end(m, o, cut ? KCM_TRUNCATED : KCM_CLOSED, cut ? EPIPE : 0);
			return;
		}
		if (r < 0) {
			conn_end(m, o, KCM_CLOSED, (int)-r);
			return;
		}
		if (turn > TURN_BYTES) {
			conn_watch(m, o, o->events | EPOLLIN);
			drain_queue(m, o, false);
			return;
		}
	}
}
