// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* attach.c - connections come into a mux. */
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
		/* NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage): getsockname() sets it */
		*port = ntohs(s->sin_port);
	}
}

static void fill_addrs(struct kcm_conn *c, int fd)
{
	struct sockaddr_storage ss = { 0 };
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
	len = sizeof(int);
	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &v, &len))
		return -errno;
	if (v) /* nothing would ever come from it */
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
uint64_t conn_in_hand(struct kcm_mux *m, struct oconn *o)
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
	o->rx_base = got - (uint64_t)unread - conn_in_hand(m, o) - c->bytes;
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

static int attach(struct kcm_mux *m, int fd, uint64_t cookie, const void *early, size_t early_bytes,
		  kcm_conn_id *id)
{
	uint64_t one = 1;
	struct oconn *o;
	uint32_t known;
	int slot, err;

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

int kcm_attach(struct kcm_mux *m, int fd, const void *early, size_t early_bytes, kcm_conn_id *id)
{
	uint64_t cookie = 0;
	int err, had;

	if (early_bytes > KCM_CHUNK2_BYTES)
		return -E2BIG;
	err = check_socket(fd, &cookie);
	if (err)
		return err;
	/* Never while it has an rx, see kcm_rx.h. */
	had = rx_guard_take(cookie, RX_GUARD_MUX);
	if (had < 0)
		return had;
	err = attach(m, fd, cookie, early, early_bytes, id);
	if (err && !had)
		rx_guard_drop(cookie, RX_GUARD_MUX);
	return err;
}
