// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* owner_tx.c - replies that a socket did not take at once, see send.c for the workers' side. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "owner.h"
#include "txlock.h"

/* Bytes that were ever written to the socket, from a fixed but unknown start. */
uint64_t tx_count(int fd)
{
	uint64_t last = UINT64_MAX;

	/* Two values that change together: read until they agree with themselves. */
	for (int i = 0; i < 64; i++) {
		struct tcp_info ti;
		socklen_t len = sizeof(ti);
		int q = 0;

		memset(&ti, 0, sizeof(ti));
		if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &ti, &len) || ioctl(fd, SIOCOUTQ, &q))
			return UINT64_MAX;
		if (last == ti.tcpi_bytes_acked + (uint64_t)q)
			return last;
		last = ti.tcpi_bytes_acked + (uint64_t)q;
	}
	return last;
}

/* Payload bytes that TCP has ever received in order. */
uint64_t tcp_received(int fd)
{
	struct tcp_info ti;
	socklen_t len = sizeof(ti);

	memset(&ti, 0, sizeof(ti));
	return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &ti, &len) ? 0 : ti.tcpi_bytes_received;
}

void tx_drop(struct kcm_mux *m, struct oconn *o)
{
	struct tx_part *lists[2] = { o->tx_head, o->tx_early };

	for (int i = 0; i < 2; i++)
		while (lists[i]) {
			struct tx_part *p = lists[i];

			lists[i] = p->next;
			free(p);
		}
	o->tx_head = o->tx_early = NULL;
	o->tx_tail = &o->tx_head;
	o->tx_dead = true;
	/* Workers that wait to send find that the connection is gone. */
	STORE(&m->v.tx[o->slot].gen, ~o->gen);
	STORE(&m->v.tx[o->slot].queued_bytes, 0);
}

void tx_push(struct kcm_mux *m, struct oconn *o)
{
	struct kcm_txc *t = &m->v.tx[o->slot];

	while (o->tx_head) {
		struct iovec iov[64];
		struct msghdr h = { .msg_iov = iov };
		ssize_t r;

		for (struct tx_part *p = o->tx_head; p && h.msg_iovlen < 64; p = p->next) {
			iov[h.msg_iovlen].iov_base = p->data + p->off;
			iov[h.msg_iovlen++].iov_len = p->len - p->off;
		}
		r = sendmsg(o->fd, &h, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0 && errno == EAGAIN) {
			conn_watch(m, o, o->events | EPOLLOUT);
			return;
		}
		if (r < 0) {
			/* The read side says what became of the connection, or has done so. */
			tx_drop(m, o);
			if (o->event_done)
				conn_try_free(m, o);
			return;
		}
		__atomic_fetch_sub(&t->queued_bytes, (uint64_t)r, __ATOMIC_SEQ_CST);
		__atomic_fetch_add(&t->written, (uint64_t)r, __ATOMIC_SEQ_CST);
		while (r > 0) {
			struct tx_part *p = o->tx_head;
			uint32_t n = p->len - p->off;

			if ((ssize_t)n > r) {
				p->off += (uint32_t)r;
				break;
			}
			r -= n;
			o->tx_head = p->next;
			if (!o->tx_head)
				o->tx_tail = &o->tx_head;
			free(p);
		}
	}
	if (o->events & EPOLLOUT)
		conn_watch(m, o, o->events & ~(uint32_t)EPOLLOUT);
	/*
	 * Give the connection back to the workers, unless one hands over right now (then its
	 * records come to us and we come here again). Never wait: it may be waiting for us.
	 */
	if (LOAD(&t->pending) && txlock_try(t, KCM_TX_OWNER)) {
		if (t->seq == o->tx_next)
			STORE(&t->pending, 0);
		txlock_put(t);
	}
	if (o->event_done)
		conn_try_free(m, o);
}

void tx_record(struct kcm_mux *m, const struct wire_rec *rec, const void *data, size_t len)
{
	uint32_t slot = (uint32_t)rec->conn;
	struct oconn *o = slot < m->v.cfg.n_conns ? m->conns[slot] : NULL;
	struct tx_part *p, **at;

	if (!o || oconn_id(o) != rec->conn || o->tx_dead || !len)
		return;
	p = malloc(sizeof(*p) + len);
	if (!p) {
		conn_reset(m, o);
		return;
	}
	p->next = NULL;
	p->seq = rec->a;
	p->last = rec->b;
	p->len = (uint32_t)len;
	p->off = 0;
	memcpy(p->data, data, len);
	m->v.conf->tx_handed++;
	/* Records of two workers come over two sockets: their numbers tell the order. */
	for (at = &o->tx_early; *at && (int32_t)((*at)->seq - p->seq) < 0; at = &(*at)->next)
		;
	p->next = *at;
	*at = p;
	while (o->tx_early && o->tx_early->seq == o->tx_next) {
		p = o->tx_early;
		o->tx_early = p->next;
		p->next = NULL;
		o->tx_open = !p->last;
		*o->tx_tail = p;
		o->tx_tail = &p->next;
		o->tx_next++;
	}
	if (!(o->events & EPOLLOUT))
		tx_push(m, o);
}

/* Bytes that wait here. */
static uint64_t tx_waiting(const struct oconn *o)
{
	uint64_t n = 0;

	for (const struct tx_part *p = o->tx_head; p; p = p->next)
		n += p->len - p->off;
	return n;
}

/*
 * A worker died. Where it held a connection's lock, look how much of its reply is out: nothing or
 * all is fine; a part would tear the stream, and what was being handed over is lost with it.
 */
void tx_reap(struct kcm_mux *m, uint32_t slot)
{
	for (uint32_t i = 0; i < m->v.cfg.n_conns; i++) {
		struct oconn *o = m->conns[i];
		struct kcm_txc *t = &m->v.tx[i];
		uint64_t n, out;

		if (!o || (LOAD(&t->lock) & ~KCM_TX_WAITERS) != slot + 1)
			continue;
		/* Others had handed over before it: what is on the way to us is not its fault. */
		if (t->seq != o->tx_next)
			members_catch_up(m);
		if (m->conns[i] != o)
			continue;
		n = tx_count(o->fd);
		out = n == UINT64_MAX ? UINT64_MAX : n - o->tx_base - t->written;
		if (t->seq != o->tx_next || o->tx_open || (out && out != t->sending)) {
			m->v.conf->tx_aborts++;
			conn_reset(m, o);
		} else {
			t->written += out;
			STORE(&t->sending, 0);
			/* It may have announced a hand-over and not made it. */
			STORE(&t->queued_bytes, tx_waiting(o));
			STORE(&t->pending, o->tx_head != NULL);
		}
		txlock_put(t);
	}
}
