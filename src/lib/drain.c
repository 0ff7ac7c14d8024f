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

#include "owner.h"

#define STRP_END_NS 200000000ULL
#define TURN_BYTES  (512U * 1024) /* then another connection has its turn */

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

static int left_put(struct kcm_mux *m, struct oconn *o, const void *p, size_t n, bool front)
{
	if (!n)
		return 0;
	if (o->left_n + n > o->left_cap) {
		size_t cap = o->left_n + n < 256 ? 256 : o->left_n + n;
		uint8_t *q = realloc(o->left, cap);

		if (!q)
			return -ENOMEM;
		m->left_bytes += cap - o->left_cap;
		o->left = q;
		o->left_cap = (uint32_t)cap;
	}
	if (front)
		memmove(o->left + n, o->left, o->left_n);
	memcpy(front ? o->left : o->left + o->left_n, p, n);
	o->left_n += (uint32_t)n;
	return 0;
}

int drain_keep(struct kcm_mux *m, struct oconn *o, const void *p, size_t n)
{
	return left_put(m, o, p, n, false);
}

static void left_cut(struct kcm_mux *m, struct oconn *o, uint32_t n)
{
	o->left_n -= n;
	memmove(o->left, o->left + n, o->left_n);
	if (!o->left_n) {
		m->left_bytes -= o->left_cap;
		free(o->left);
		o->left = NULL;
		o->left_cap = 0;
	}
}

static void asm_release(struct kcm_mux *m, struct kcm_conn *c)
{
	uint32_t id = c->asm_chunk - 1;
	uint32_t cls = m->v.chunks[id].size_bytes;

	cls = cls <= KCM_CHUNK0_BYTES ? 0 : cls <= KCM_CHUNK1_BYTES ? 1 : 2;
	__atomic_fetch_sub(&m->v.prod->n_asm[cls], 1, __ATOMIC_SEQ_CST);
	queue_chunk_drop(&m->v, id);
	c->asm_chunk = 0;
}

/* The unfinished message that BPF had begun comes before what is left. Return: 0, -ENOMEM. */
int drain_take_asm(struct kcm_mux *m, struct oconn *o)
{
	struct kcm_conn *c = &m->v.conns[o->slot];
	int err;

	if (!c->asm_chunk || c->asm_chunk > m->v.n_chunks)
		return 0;
	err = left_put(m, o, view_chunk_data(&m->v, &m->v.chunks[c->asm_chunk - 1]), c->asm_have,
		       true);
	/* It began when it began, whoever has it. */
	o->partial_ns = c->asm_since_ns;
	asm_release(m, c);
	return err;
}

void drain_forget(struct kcm_mux *m, struct oconn *o)
{
	if (o->left_n)
		left_cut(m, o, o->left_n);
	if (o->big_on)
		big_free(m, o->big_off);
	o->big_on = false;
	if (m->v.conns[o->slot].asm_chunk)
		asm_release(m, &m->v.conns[o->slot]);
}

/* Put the unfinished message where BPF can go on with it. */
static bool asm_give(struct kcm_mux *m, struct oconn *o)
{
	struct kcm_conn *c = &m->v.conns[o->slot];
	uint32_t bytes = o->need ? o->need : o->left_n * 2, cls;
	int id;

	if (!o->need && bytes < c->len_hint)
		bytes = c->len_hint;
	if (bytes > KCM_CHUNK2_BYTES)
		bytes = KCM_CHUNK2_BYTES;
	/* A stream parser has to begin at a message's start: read on until there is one. */
	if (o->left_n >= KCM_CHUNK2_BYTES || m->v.cfg.mode == KCM_MODE_STRPARSER)
		return false;
	cls = bytes <= KCM_CHUNK0_BYTES ? 0 : bytes <= KCM_CHUNK1_BYTES ? 1 : 2;
	if (LOAD(&m->v.prod->n_asm[cls]) >= m->v.cfg.n_chunks[cls] / 2)
		return false;
	id = queue_chunk_new(&m->v, bytes);
	if (id < 0)
		return false;
	bytes = m->v.chunks[id].size_bytes;
	cls = bytes <= KCM_CHUNK0_BYTES ? 0 : bytes <= KCM_CHUNK1_BYTES ? 1 : 2;
	__atomic_fetch_add(&m->v.prod->n_asm[cls], 1, __ATOMIC_SEQ_CST);
	memcpy(view_chunk_data(&m->v, &m->v.chunks[id]), o->left, o->left_n);
	c->asm_have = o->left_n;
	c->asm_need = o->need;
	c->asm_since_ns = o->partial_ns;
	kcm_frame_restart(&c->fs, !c->msgs);
	c->asm_chunk = (uint32_t)id + 1;
	left_cut(m, o, o->left_n);
	return true;
}

/* Read bytes of the stream. Return: > 0, 0 end, -EAGAIN, -errno. */
static ssize_t stream_read(struct oconn *o, uint8_t *to, size_t room)
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

static int frame_at(struct kcm_mux *m, struct kcm_conn *c, const uint8_t *p, uint32_t n)
{
	int ret;

	do {
		ret = kcm_frame_step(&m->v.conf->frame, &c->fs, p, 0, n);
	} while (ret == -EAGAIN);
	return ret;
}

static bool publish(struct kcm_mux *m, struct oconn *o, uint32_t id, uint32_t n, uint64_t bytes,
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
	if (!publish(m, o, (uint32_t)id, 1, o->big_need, 1ULL << lane))
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
		return stream_read(o, to, room);
	if (room > o->left_n)
		room = o->left_n;
	memcpy(to, o->left, room);
	left_cut(m, o, (uint32_t)room);
	return (ssize_t)room;
}

/* Read on into the big message. Return as stream_read(), 1 when it is whole and published. */
static ssize_t big_read(struct kcm_mux *m, struct oconn *o)
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
		int len = frame_at(m, c, to, (uint32_t)o->big_have);

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
static int big_start(struct kcm_mux *m, struct oconn *o)
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
		len = frame_at(m, c, m->v.big + off, take);
		if (len < 0 || (uint64_t)len > cap) {
			big_free(m, (uint64_t)off);
			o->need = len < 0 ? 0 : (uint32_t)len;
			return len < 0 ? len : big_start(m, o);
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
			r = stream_read(o, p + have, room < size - have ? room : size - have);
		if (r > 0)
			have += (uint32_t)r;
	}
	kcm_frame_restart(&c->fs, !c->msgs);
	while (n < KCM_CHUNK_MSGS && pos < have) {
		ret = frame_at(m, c, p + pos, have - pos);
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
		if (!publish(m, o, (uint32_t)id, n, pos, lanes)) {
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
		ret = big_start(m, o);
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
	if (o->left_n && !asm_give(m, o))
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
		r = o->big_on ? big_read(m, o) : window(m, o);
		turn += o->pos - before;
		if (r == -EAGAIN) {
			if (LOAD(&c->state) == KCM_CONN_NEW) {
				if (o->big_on || (o->left_n && !asm_give(m, o)))
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
