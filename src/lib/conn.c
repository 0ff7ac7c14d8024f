// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* conn.c - connections of a mux: seize one from BPF, end it, free it. */
#define _GNU_SOURCE
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <linux/sockios.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "owner.h"
#include "rx_guard.h"
#include "txlock.h"

/* Until kcm_detach() gives up: on a peer that sends without a pause, on bytes that do not come. */
#define DETACH_TRIES 1000
#define DETACH_MUCH  (1U << 20)
#define DETACH_IDLE  200
#define DETACH_LOWAT (1 << 20)
#include "txlock.h"

#ifndef SO_COOKIE
#define SO_COOKIE 57
#endif

int conn_watch(struct kcm_mux *m, struct oconn *o, uint32_t want)
{
	struct epoll_event ev = { .events = want | EPOLLRDHUP | EPOLLET,
				  .data.u64 = POLL_DATA(POLL_CONN, o->slot) };

	if (o->events == ev.events)
		return 0;
	if (epoll_ctl(m->ep, o->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, o->fd, &ev))
		return -errno;
	o->events = ev.events;
	return 0;
}

bool conn_seize(struct kcm_mux *m, struct oconn *o)
{
	struct kcm_conn *c = &m->v.conns[o->slot];
	bool active;
	uint8_t b;

	(void)m;
	/* Again and again: the program may resume in between. */
	while (!(active = CAS(&c->state, KCM_CONN_ACTIVE, KCM_CONN_HELD)) &&
	       !CAS(&c->state, KCM_CONN_RESUME, KCM_CONN_HELD)) {
		uint32_t s = LOAD(&c->state);

		if (s == KCM_CONN_HELD || s == KCM_CONN_NEW)
			break;
		if (s != KCM_CONN_ACTIVE && s != KCM_CONN_RESUME)
			return false;
	}
	/*
	 * A program that saw the old state runs with the socket locked; recv() takes that lock, so
	 * after it none does.
	 */
	if (recv(o->fd, &b, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EBADF)
		return false;
	if (active && o->hold_id == c->hold_id) {
		/* Nothing was held: what is in the socket begins where the program ended. */
		c->hold_seq = c->settled_seq;
		o->pos = o->skip = 0;
	}
	return true;
}

static void count_end(struct kcm_mux *m, uint32_t event)
{
	struct kcm_mux_conf *cf = m->v.conf;

	cf->events++;
	switch (event) {
	case KCM_BAD_FRAME:
		cf->bad_frames++;
		break;
	case KCM_TOO_BIG:
		cf->too_big++;
		break;
	case KCM_TRUNCATED:
		cf->truncated++;
		break;
	case KCM_TIMEOUT:
		cf->timeouts++;
		break;
	}
}

/* Publish the last record of a connection. What it sent before is in the lanes already. */
void conn_end(struct kcm_mux *m, struct oconn *o, uint32_t event, int error)
{
	struct kcm_conn *c = &m->v.conns[o->slot];
	uint32_t lane;
	int id;

	if (o->event_done)
		return;
	if (!o->stopped) {
		o->stopped = true;
		o->event = event;
		o->error = error;
		conn_seize(m, o);
		drain_forget(m, o);
		m->n_closing++;
	}
	o->event_due = true;
	id = drain_chunk(m, 1);
	if (id < 0) {
		drain_queue(m, o, true);
		return;
	}
	lane = queue_lane_of(&m->v, o->slot, NULL, 0);
	m->v.chunks[id].kind = KCM_CHUNK_EVENT;
	m->v.chunks[id].event = o->event;
	m->v.chunks[id].error = o->error;
	m->v.chunks[id].conn = o->slot;
	m->v.chunks[id].conn_gen = o->gen;
	m->v.chunks[id].msg[0].len = 0;
	m->v.chunks[id].lane[0] = (uint8_t)lane;
	o->published = c->msgs + 1;
	/* From here a release may be the last: workers ring us when they see this state. */
	__atomic_store_n(&c->state, KCM_CONN_CLOSING, __ATOMIC_SEQ_CST);
	if (queue_publish(&m->v, (uint32_t)id, 1, 1ULL << lane)) {
		queue_chunk_drop(&m->v, (uint32_t)id);
		drain_queue(m, o, true);
		return;
	}
	o->event_due = false;
	o->event_done = true;
	count_end(m, o->event);
	if (o->starved || o->linked)
		drain_unqueue(m, o);
	drain_wake(m, 1ULL << lane);
	conn_try_free(m, o);
}

/* Does anybody still have, or wait for, a message of this connection? */
static bool messages_out(struct kcm_mux *m, const struct oconn *o)
{
	for (uint32_t i = 0; i < KCM_WORKERS_MAX; i++)
		if (m->v.wstats[i].held_msgs && m->v.wstats[i].held_conn == o->slot)
			return true;
	for (uint32_t id = 0; id < m->v.n_chunks; id++)
		if (m->v.chunks[id].conn == o->slot && m->v.chunks[id].conn_gen == o->gen &&
		    KCM_STATE_ST(LOAD(&m->v.claims[id].state)) == KCM_CHUNK_PUB)
			return true;
	return false;
}

/* The connection ends when all it sent was released and all replies are out. */
void conn_try_free(struct kcm_mux *m, struct oconn *o)
{
	struct kcm_txc *t = &m->v.tx[o->slot];

	if (!o->event_done)
		return;
	if (txc_released(t) < o->published && !(o->recount && !messages_out(m, o)))
		return;
	if (!o->tx_dead && (o->tx_head || o->tx_early || LOAD(&t->queued_bytes)))
		return;
	if (o->fd < 0) {
		conn_free(m, o);
		return;
	}
	if (m->v.conf->keep_on_error && !o->hup &&
	    (o->event == KCM_BAD_FRAME || o->event == KCM_TOO_BIG))
		return;
	if (o->event != KCM_CLOSED && o->event != KCM_TRUNCATED) {
		uint8_t junk[4096];

		/* Unread bytes make close() a reset, which may destroy replies on the way. */
		shutdown(o->fd, SHUT_WR);
		for (int i = 0; i < 64 && recv(o->fd, junk, sizeof(junk), MSG_DONTWAIT) > 0; i++)
			;
	}
	m->v.conf->closed++;
	conn_free(m, o);
}

/* The mux can't go on with this connection and says so to both ends. */
void conn_reset(struct kcm_mux *m, struct oconn *o)
{
	struct linger l = { .l_onoff = 1, .l_linger = 0 };

	m->v.conf->resets++;
	setsockopt(o->fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	tx_drop(m, o);
	/*
	 * connect(AF_UNSPEC) resets at once though workers still have descriptors; sockmap sockets
	 * take it like a disconnect.
	 */
	(void)connect(o->fd, &(struct sockaddr){ .sa_family = AF_UNSPEC }, sizeof(struct sockaddr));
	conn_end(m, o, KCM_CLOSED, ECONNRESET);
}

void conn_free(struct kcm_mux *m, struct oconn *o)
{
	struct kcm_conn *c = &m->v.conns[o->slot];
	struct kcm_txc *t = &m->v.tx[o->slot];

	drain_unqueue(m, o);
	drain_forget(m, o);
	tx_drop(m, o);
	if (o->stopped)
		m->n_closing--;
	m->v.conf->rx_msgs += c->msgs;
	m->v.conf->rx_bytes += c->bytes;
	bpf_map_delete_elem(m->slots, &o->cookie);
	if (o->inserted)
		bpf_map_delete_elem(m->socks, &o->cookie);
	STORE(&m->v.home[o->slot], 0);
	/* Nobody has a message of it any more, so nobody else counts in here. */
	t->pending = t->seq = 0;
	STORE(&t->released, TXC_RELEASED0(o->gen + 1));
	t->msgs = t->bytes = t->written = t->sending = t->queued_bytes = 0;
	STORE(&t->gen, o->gen + 1);
	m->conns[o->slot] = NULL;
	m->n_conns--;
	if (o->fd >= 0) {
		/* Workers may still have the descriptor: the peer must not wait for them. */
		shutdown(o->fd, SHUT_RDWR);
		close(o->fd);
		/* One that was detached stays known: what it went through is not undone. */
		rx_guard_drop(o->cookie, RX_GUARD_MUX);
	}
	member_tell_gone(m, o);
	c->msgs = c->bytes = 0;
	c->cookie = 0;
	STORE(&c->gen, o->gen + 1);
	STORE(&c->state, KCM_CONN_FREE);
	free(o);
}
