// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* conn.c - connections of a mux: attach, detach, and their end. */
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

int conn_take(struct kcm_mux *m)
{
	uint32_t n = m->v.cfg.n_conns;

	for (uint32_t i = 0; i < n; i++) {
		m->conn_hint = m->conn_hint + 1 >= n ? 0 : m->conn_hint + 1;
		if (LOAD(&m->v.conns[m->conn_hint].state) == KCM_CONN_FREE &&
		    CAS(&m->v.conns[m->conn_hint].state, KCM_CONN_FREE, KCM_CONN_NEW))
			return (int)m->conn_hint;
	}
	return -ENOSPC;
}

static void copy_addr(const struct sockaddr_storage *ss, uint8_t addr[16], uint16_t *port)
{
	if (ss->ss_family == AF_INET6) {
		const struct sockaddr_in6 *s = (const void *)ss;

		memcpy(addr, &s->sin6_addr, 16);
		*port = ntohs(s->sin6_port);
	} else {
		const struct sockaddr_in *s = (const void *)ss;

		memset(addr, 0, 16);
		memcpy(addr, &s->sin_addr, 4);
		*port = ntohs(s->sin_port);
	}
}

static void fill_addrs(struct kcm_conn *c, int fd)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);

	c->family = 0;
	if (!getpeername(fd, (struct sockaddr *)&ss, &len)) {
		c->family = ss.ss_family;
		copy_addr(&ss, c->raddr, &c->rport);
	}
	len = sizeof(ss);
	if (!getsockname(fd, (struct sockaddr *)&ss, &len))
		copy_addr(&ss, c->laddr, &c->lport);
}

static int check_socket(int fd, uint64_t *cookie)
{
	char ulp[16] = "";
	socklen_t len = sizeof(int);
	int v;

	if (getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &v, &len))
		return -errno;
	if (v != IPPROTO_TCP)
		return -EOPNOTSUPP;
	len = sizeof(ulp);
	if (!getsockopt(fd, IPPROTO_TCP, TCP_ULP, ulp, &len) && len > 0 && ulp[0])
		return -EOPNOTSUPP; /* kTLS and a verdict program exclude each other */
	len = sizeof(*cookie);
	return getsockopt(fd, SOL_SOCKET, SO_COOKIE, cookie, &len) ? -errno : 0;
}

static void init_conn(struct kcm_conn *c, uint64_t cookie)
{
	c->cookie = cookie;
	c->hold = KCM_HOLD_START;
	c->hold_seq = c->hold_skip = 0;
	c->asm_chunk = 0;
	c->len_hint = 0;
	memset(&c->fs, 0, sizeof(c->fs));
	c->msgs = c->bytes = c->holds = c->skbs = c->overlaps = 0;
	c->seq_known = 0;
	c->open_ns = now_ns();
}

static struct oconn *oconn_new(struct kcm_mux *m, uint32_t slot, int fd, uint64_t cookie)
{
	struct kcm_conn *c = &m->v.conns[slot];
	struct kcm_txc *t = &m->v.tx[slot];
	struct oconn *o = calloc(1, sizeof(*o));
	struct timeval tv = { 0 };
	socklen_t len = sizeof(tv);

	if (!o)
		return NULL;
	o->fd = fd;
	o->slot = slot;
	o->gen = c->gen;
	o->cookie = cookie;
	o->tx_tail = &o->tx_head;
	o->hold_id = c->hold_id;
	if (!getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, &len))
		o->rcvtimeo_ms = (uint32_t)(tv.tv_sec * 1000 + tv.tv_usec / 1000);
	owner_note_timeout(m, o);
	o->tx_base = tx_count(fd);
	fill_addrs(c, fd);
	/* Consecutive connections go to different lanes. */
	c->lane = slot % KCM_LANES;
	STORE(&t->gen, o->gen);
	m->conns[slot] = o;
	m->n_conns++;
	m->v.conf->attached++;
	return o;
}

/* Bytes of the stream that are out of the socket and not in a published message yet. */
static uint64_t in_hand(struct kcm_mux *m, struct oconn *o)
{
	struct kcm_conn *c = &m->v.conns[o->slot];

	return o->left_n + (o->big_on ? o->big_have : 0) + (c->asm_chunk ? c->asm_have : 0);
}

/* Bytes from before are out of the socket: let the verdict program have it from here on. */
static int insert(struct kcm_mux *m, struct oconn *o)
{
	struct kcm_conn *c = &m->v.conns[o->slot];
	uint64_t fd = (uint64_t)o->fd;
	uint32_t slot = o->slot;
	uint64_t got;
	uint8_t b;
	int err, unread = 0;

	if (bpf_map_update_elem(m->slots, &o->cookie, &slot, BPF_ANY))
		return -errno;
	/* Both from the same moment, or a segment in between is counted once. */
	do {
		got = tcp_received(o->fd);
		if (ioctl(o->fd, SIOCINQ, &unread))
			unread = 0;
	} while (tcp_received(o->fd) != got);
	o->rx_base = got - (uint64_t)unread - in_hand(m, o) - c->bytes;
	__atomic_store_n(&c->state, KCM_CONN_ACTIVE, __ATOMIC_SEQ_CST);
	if (bpf_map_update_elem(m->socks, &o->cookie, &fd, BPF_NOEXIST)) {
		err = -errno;
		c->state = KCM_CONN_NEW;
		bpf_map_delete_elem(m->slots, &o->cookie);
		return err;
	}
	o->inserted = true;
	/*
	 * What came between our last read and now waits in the receive queue, and nothing calls the
	 * program for it until tcp_bpf_recvmsg_parser() does.
	 */
	if (recv(o->fd, &b, 1, MSG_PEEK | MSG_DONTWAIT) == 0)
		drain_queue(m, o, false);
	return 0;
}

/* drain() has read a new connection empty. */
void conn_opened(struct kcm_mux *m, struct oconn *o)
{
	int err = insert(m, o);

	if (err)
		conn_end(m, o, KCM_CLOSED, -err);
}

/* kcm_sockops has put this socket in already; the program has now accepted it. */
static int adopt(struct kcm_mux *m, int fd, uint64_t cookie, uint32_t slot, kcm_conn_id *id)
{
	struct oconn *o;

	if (slot >= m->v.cfg.n_conns || m->conns[slot] || m->v.conns[slot].cookie != cookie)
		return -EBUSY;
	o = oconn_new(m, slot, fd, cookie);
	if (!o)
		return -ENOMEM;
	o->inserted = true;
	o->hold_id = m->v.conns[slot].hold_id - (LOAD(&m->v.conns[slot].state) == KCM_CONN_HELD);
	if (m->n_unadopted)
		m->n_unadopted--;
	if (conn_watch(m, o, 0)) {
		o->fd = -1;
		conn_free(m, o);
		return -ENOMEM;
	}
	if (id)
		*id = oconn_id(o);
	drain(m, o);
	return 0;
}

/* Connections that kcm_sockops attached and that ended before anybody accepted them. */
void conn_sweep_unadopted(struct kcm_mux *m)
{
	uint64_t now = now_ns(), val;

	m->n_unadopted = 0;
	for (uint32_t i = 0; i < m->v.cfg.n_conns; i++) {
		struct kcm_conn *c = &m->v.conns[i];

		if (m->conns[i] || LOAD(&c->state) == KCM_CONN_FREE ||
		    LOAD(&c->state) == KCM_CONN_NEW)
			continue;
		if (now - c->open_ns > 1000000000ULL &&
		    bpf_map_lookup_elem(m->socks, &c->cookie, &val) && errno == ENOENT &&
		    txc_released(&m->v.tx[i]) >= c->msgs) {
			bpf_map_delete_elem(m->slots, &c->cookie);
			if (c->asm_chunk) {
				struct oconn tmp = { .slot = i };

				drain_forget(m, &tmp);
			}
			memset(&m->v.tx[i], 0, sizeof(m->v.tx[i]));
			STORE(&m->v.tx[i].released, TXC_RELEASED0(c->gen + 1));
			STORE(&c->gen, c->gen + 1);
			STORE(&c->state, KCM_CONN_FREE);
			continue;
		}
		m->n_unadopted++;
	}
}

int kcm_attach(struct kcm_mux *m, int fd, const void *early, size_t early_bytes, kcm_conn_id *id)
{
	uint64_t cookie, one = 1;
	struct oconn *o;
	uint32_t known;
	int slot, err;

	if (early_bytes > KCM_CHUNK2_BYTES)
		return -E2BIG;
	err = check_socket(fd, &cookie);
	if (err)
		return err;
	if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK))
		return -errno;
	pthread_mutex_lock(&m->lock);
	if (!m->stop && !bpf_map_lookup_elem(m->slots, &cookie, &known)) {
		err = adopt(m, fd, cookie, known, id);
		goto out;
	}
	err = m->stop ? -ESHUTDOWN : conn_take(m);
	if (err < 0)
		goto out;
	slot = err;
	init_conn(&m->v.conns[slot], cookie);
	o = oconn_new(m, (uint32_t)slot, fd, cookie);
	err = -ENOMEM;
	if (o)
		err = drain_keep(m, o, early, early_bytes);
	err = err ?: conn_watch(m, o, 0);
	if (err)
		goto undo;
	if (id)
		*id = oconn_id(o);
	/* The common case, a fresh connection: into the map at once, so that errors are the
	 * caller's. */
	if (!early_bytes) {
		uint8_t b;
		ssize_t r = recv(fd, &b, 1, MSG_PEEK | MSG_DONTWAIT);

		if (r < 0 && errno == EAGAIN) {
			err = insert(m, o);
			if (err)
				goto undo;
			goto done;
		}
	}
	drain(m, o); /* its end may be in there: @o may be gone */
done:
	err = 0;
out:
	/* The service thread sleeps without knowing what we queued. */
	if (m->run && write(m->ev, &one, sizeof(one)) < 0)
		err = err ?: 0;
	pthread_mutex_unlock(&m->lock);
	return err;
undo:
	if (o) {
		if (o->events)
			epoll_ctl(m->ep, EPOLL_CTL_DEL, fd, NULL);
		o->fd = -1;
		conn_free(m, o);
	} else {
		STORE(&m->v.conns[slot].state, KCM_CONN_FREE);
	}
	pthread_mutex_unlock(&m->lock);
	return err;
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
	connect(o->fd, &(struct sockaddr){ .sa_family = AF_UNSPEC }, sizeof(struct sockaddr));
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
	}
	member_tell_gone(m, o);
	c->msgs = c->bytes = 0;
	c->cookie = 0;
	STORE(&c->gen, o->gen + 1);
	STORE(&c->state, KCM_CONN_FREE);
	free(o);
}

/* Read all there is to `left`, but what the program had settled. Return: 1 at the end, 0, -errno.
 */
static int read_out(struct kcm_mux *m, struct oconn *o)
{
	uint8_t buf[16384];

	for (;;) {
		size_t want = o->skip && o->skip < sizeof(buf) ? o->skip : sizeof(buf);
		ssize_t r = recv(o->fd, buf, want, MSG_DONTWAIT);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return errno == EAGAIN ? 0 : -errno;
		if (!r)
			return 1;
		o->pos += (uint32_t)r;
		if (o->skip)
			o->skip -= (uint32_t)r;
		else if (drain_keep(m, o, buf, (size_t)r))
			return -ENOMEM;
	}
}

/* Has all that TCP received come out of the socket? SIOCINQ differs with kernels in a sockmap. */
static bool is_empty(struct kcm_mux *m, struct oconn *o, bool fin)
{
	uint64_t left =
		tcp_received(o->fd) - o->rx_base - m->v.conns[o->slot].bytes - in_hand(m, o);

	return !left || (fin && left == 1); /* TCP counts a FIN as a byte */
}

/*
 * Take a seized socket out of kcm_socks, with nothing left in the queue of what the program passed.
 *
 * Deleting a socket from its last map throws that queue away; kcm_park, a map without a program,
 * keeps it. But two things must not happen:
 *
 * - Reading that queue afterwards. sock_map_del_link() has then made tcp_bpf_recvmsg() the socket's
 *   recvmsg, which does not move copied_seq as tcp_bpf_recvmsg_parser() does: the stream behind it
 *   could never be read ("TCP recvmsg seq # bug", EAGAIN for ever). So read first and delete then;
 *   if anything came meanwhile it may be in that queue: back with the socket, and once more.
 * - An skb on its way to the program. sk_psock_verdict_recv() drops it when
 *   sk_psock_stop_verdict() has just cleared the program. SO_RCVLOWAT keeps tcp_data_ready() from
 *   calling the program meanwhile. A FIN and a full window override that; what is dropped then is
 *   missed by is_empty(), and the connection is reset.
 *
 * Return: 0; -EAGAIN the peer sends without a pause, the socket is in kcm_socks; or -errno.
 */
static int unhook(struct kcm_mux *m, struct oconn *o)
{
	uint64_t key = o->cookie, fd = (uint64_t)o->fd;
	int err, low = 1, high = DETACH_LOWAT, idle = 0, clamp = 0, narrow = 0, window = 0;
	socklen_t len = sizeof(low);
	uint32_t begun = o->left_n;
	bool parked;

	if (!o->inserted) {
		err = read_out(m, o);
		return err < 0 ? err : 0;
	}
	getsockopt(o->fd, SOL_SOCKET, SO_RCVLOWAT, &low, &len);
	getsockopt(o->fd, IPPROTO_TCP, TCP_WINDOW_CLAMP, &clamp, &len);
	getsockopt(o->fd, SOL_SOCKET, SO_RCVBUF, &window, &len);
	/* Fails behind the peer's FIN: then nothing more comes that would have to be kept. */
	parked = !bpf_map_update_elem(m->park, &key, &fd, BPF_ANY);
	for (int i = 0;; i++) {
		uint32_t had = o->left_n;
		bool fin;

		err = read_out(m, o);
		if (err < 0)
			break;
		fin = err;
		err = 0;
		/* sk_psock_backlog() brings what found no room, a jiffy later. */
		idle = o->left_n == had ? idle + 1 : 0;
		if (idle > DETACH_IDLE)
			err = -ECONNRESET;
		else if (i == DETACH_TRIES || o->left_n - begun > 2U * (uint32_t)window + DETACH_MUCH)
			err = -EAGAIN;
		if (err)
			break;
		/*
		 * Once the peer has used its window it gets the smallest: then it pauses. Each
		 * time, as auto-tuning of the buffer takes the clamp along.
		 */
		narrow |= i == DETACH_TRIES / 50 || o->left_n - begun > DETACH_MUCH;
		if (narrow)
			setsockopt(o->fd, IPPROTO_TCP, TCP_WINDOW_CLAMP, &narrow, sizeof(narrow));
		setsockopt(o->fd, SOL_SOCKET, SO_RCVLOWAT, &high, sizeof(high));
		if (is_empty(m, o, fin)) {
			bpf_map_delete_elem(m->socks, &key);
			o->inserted = false;
			if (!parked || is_empty(m, o, fin))
				break;
			if (bpf_map_update_elem(m->socks, &key, &fd, BPF_NOEXIST)) {
				err = -errno;
				break;
			}
			o->inserted = true;
		}
		setsockopt(o->fd, SOL_SOCKET, SO_RCVLOWAT, &low, sizeof(low));
		if (idle)
			usleep(1000);
	}
	setsockopt(o->fd, SOL_SOCKET, SO_RCVLOWAT, &low, sizeof(low));
	if (narrow)
		setsockopt(o->fd, IPPROTO_TCP, TCP_WINDOW_CLAMP, &clamp, sizeof(clamp));
	bpf_map_delete_elem(m->park, &key);
	return err;
}

int kcm_detach(struct kcm_mux *m, kcm_conn_id id, void **rest, size_t *rest_bytes)
{
	uint32_t slot = (uint32_t)id;
	uint64_t one = 1;
	int fd, err;
	struct kcm_txc *t;
	struct oconn *o;

	*rest = NULL;
	*rest_bytes = 0;
	pthread_mutex_lock(&m->lock);
	o = slot < m->v.cfg.n_conns ? m->conns[slot] : NULL;
	if (!o || oconn_id(o) != id || o->stopped) {
		pthread_mutex_unlock(&m->lock);
		return -ENOTCONN;
	}
	if (m->v.cfg.mode == KCM_MODE_STRPARSER && o->inserted) {
		/* Half a message may be inside the stream parser, where nobody gets it back from.
		 */
		pthread_mutex_unlock(&m->lock);
		return -EOPNOTSUPP;
	}
	/* Replies on their way would be lost, or torn. */
	t = &m->v.tx[slot];
	if (!txlock_try(t, KCM_TX_OWNER)) {
		pthread_mutex_unlock(&m->lock);
		return -EBUSY;
	}
	if (o->tx_head || o->tx_early || LOAD(&t->seq) != o->tx_next) {
		txlock_put(t);
		pthread_mutex_unlock(&m->lock);
		return -EBUSY;
	}
	conn_seize(m, o);
	if (o->hold_id != m->v.conns[slot].hold_id) {
		o->hold_id = m->v.conns[slot].hold_id;
		o->skip = m->v.conns[slot].hold_skip;
	}
	drain_take_asm(m, o);
	err = unhook(m, o);
	if (err) {
		txlock_put(t);
		/* Still in the mux: what was read is framed as after any hold. */
		if (err == -EAGAIN)
			drain_queue(m, o, false);
		else
			conn_reset(m, o);
		if (write(m->ev, &one, sizeof(one)) < 0)
			err = err ?: 0; /* it is awake already */
		pthread_mutex_unlock(&m->lock);
		return err;
	}
	if (o->big_on) {
		*rest = malloc(o->big_have + o->left_n);
		if (*rest) {
			memcpy(*rest, m->v.big + o->big_off, o->big_have);
			if (o->left_n)
				memcpy((uint8_t *)*rest + o->big_have, o->left, o->left_n);
			*rest_bytes = o->big_have + o->left_n;
		}
	} else if (o->left_n) {
		*rest = malloc(o->left_n);
		if (*rest) {
			memcpy(*rest, o->left, o->left_n);
			*rest_bytes = o->left_n;
		}
	}
	fd = o->fd;
	epoll_ctl(m->ep, EPOLL_CTL_DEL, fd, NULL);
	o->fd = -1;
	m->v.conf->detached++;
	/* Its messages are still out: the slot stays until they are released. */
	tx_drop(m, o);
	txlock_put(t);
	o->stopped = o->event_done = true;
	m->n_closing++;
	o->published = m->v.conns[slot].msgs;
	drain_unqueue(m, o);
	drain_forget(m, o);
	bpf_map_delete_elem(m->slots, &o->cookie);
	member_tell_gone(m, o);
	__atomic_store_n(&m->v.conns[slot].state, KCM_CONN_CLOSING, __ATOMIC_SEQ_CST);
	conn_try_free(m, o);
	pthread_mutex_unlock(&m->lock);
	return fd;
}
