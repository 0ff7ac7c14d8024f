// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * send.c - replies. Under the connection's lock: send() what the socket takes; hand the rest to the
 * owner, which then has the connection (pending) until it has sent it all. Later replies follow
 * through the owner, numbered by tx.seq, so nothing is torn or out of order, and no worker waits
 * for a slow client.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "txlock.h"
#include "worker.h"

/* Hand bytes to the owner; @last: the message ends with them. Lock held. */
static int hand_over(struct kcm_worker *w, struct kcm_txc *t, kcm_conn_id id, const uint8_t *p,
		     size_t len, bool last)
{
	__atomic_fetch_add(&t->queued_bytes, len, __ATOMIC_SEQ_CST);
	STORE(&t->pending, 1);
	while (len) {
		size_t n = len < WIRE_DATA_MAX ? len : WIRE_DATA_MAX;
		struct wire_rec rec = {
			.type = WIRE_TX,
			.a = t->seq,
			.b = n == len && last,
			.conn = id,
		};
		int err = wire_send(w->ctl, &rec, p, n, NULL, 0, 0);

		if (err) {
			w->gone = err == -EPIPE;
			return err;
		}
		t->seq++;
		p += n;
		len -= n;
	}
	w->st->tx_handed++;
	return 0;
}

/* Wait a moment. Return: true when nobody is there to wait for. */
static bool nap(struct kcm_worker *w)
{
	struct pollfd p = { .fd = w->ctl };

	if (poll(&p, 1, 1) > 0 && (p.revents & (POLLHUP | POLLERR)))
		w->gone = true;
	return w->gone;
}

/*
 * Write @iov to the connection as one piece. @limited: refuse it if too much waits already.
 * Return: 0, or -EAGAIN with nothing written, or what killed the connection.
 */
static int put(struct kcm_worker *w, kcm_conn_id id, const struct iovec *iov, int n, size_t total,
	       unsigned int msgs, bool limited)
{
	struct kcm_txc *t = &w->v.tx[id_slot(id)];
	struct msghdr m = { .msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)n };
	int fd = worker_conn_fd(w, id), err = 0;
	size_t sent = 0, first = 0, behind = total;
	ssize_t r;

	if (fd < 0)
		return fd;
	if (!txlock_get(t, w->own, w->ctl)) {
		w->gone = true;
		return -EPIPE;
	}
	if (LOAD(&t->gen) != id_gen(id)) {
		err = -ENOTCONN;
		goto out;
	}
	if (LOAD(&t->pending)) {
		if (limited && LOAD(&t->queued_bytes) + total > w->v.conf->tx_limit_bytes &&
		    LOAD(&t->queued_bytes)) {
			err = -EAGAIN;
			goto out;
		}
	} else {
		/* For the owner, should we die in here: see tx_reap(). */
		t->sending = total;
		do {
			r = sendmsg(fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
		} while (r < 0 && errno == EINTR);
		if (r < 0 && errno != EAGAIN) {
			t->sending = 0;
			err = -errno;
			goto out;
		}
		sent = first = r < 0 ? 0 : (size_t)r;
		if (sent == total) {
			__atomic_fetch_add(&t->written, sent, __ATOMIC_SEQ_CST);
			STORE(&t->sending, 0);
		}
	}
	for (int i = 0; i < n && !err; i++) {
		size_t len = iov[i].iov_len, skip = sent < len ? sent : len;

		sent -= skip;
		behind -= len;
		if (len > skip)
			err = hand_over(w, t, id, (const uint8_t *)iov[i].iov_base + skip,
					len - skip, !behind);
	}
	if (!err) {
		if (t->sending) {
			/* The rest is the owner's now. */
			__atomic_fetch_add(&t->written, first, __ATOMIC_SEQ_CST);
			STORE(&t->sending, 0);
		}
		t->msgs += msgs;
		w->st->tx_msgs += msgs;
	} else {
		/* Half a reply may be out: better no connection than a torn stream. */
		shutdown(fd, SHUT_RDWR);
	}
out:
	txlock_put(t);
	return err;
}

int kcm_flush(struct kcm_worker *w)
{
	struct iovec iov = { .iov_base = w->stage, .iov_len = w->stage_bytes };
	int err = w->stage_err;

	w->stage_err = 0;
	if (w->stage_bytes) {
		size_t bytes = w->stage_bytes;
		int ret;

		w->stage_bytes = 0;
		/*
		 * kcm_send() said 0 for these: they may not be refused any more, nor wait for a
		 * slow client. So -EAGAIN only says that nobody has accepted the connection yet.
		 */
		do {
			ret = put(w, w->stage_conn, &iov, 1, bytes, w->stage_msgs, false);
		} while (ret == -EAGAIN && !nap(w));
		if (!ret)
			w->st->tx_bytes += bytes;
		err = err ?: ret;
	}
	w->stage_msgs = 0;
	if (w->st->held_msgs && !worker_stale(w)) {
		uint32_t n = w->st->held_msgs;

		w->st->held_msgs = 0;
		worker_done(w, w->stage_conn, n);
	}
	return err;
}

static bool room_for(struct kcm_worker *w, kcm_conn_id id, size_t len)
{
	const struct kcm_txc *t = &w->v.tx[id_slot(id)];
	uint64_t q = LOAD(&t->queued_bytes);

	return !q || q + len <= w->v.conf->tx_limit_bytes;
}

int kcm_sendv(struct kcm_worker *w, kcm_conn_id id, const struct iovec *iov, int n, int flags)
{
	size_t total = 0;
	int err;

	if (!id || id_slot(id) >= w->v.cfg.n_conns)
		return -ENOTCONN;
	if (n < 0 || n > 1024)
		return -EINVAL;
	for (int i = 0; i < n; i++)
		total += iov[i].iov_len;
	if (!total)
		return -EINVAL;
	if (w->stage_bytes && (w->stage_conn != id || w->stage_bytes + total > WORKER_STAGE)) {
		err = kcm_flush(w);
		/* An error of another connection is that connection's: its end is an event. */
		(void)err;
	}
	while (!room_for(w, id, w->stage_bytes + total)) {
		w->st->tx_again++;
		if (!(flags & KCM_WAIT))
			return -EAGAIN;
		if (LOAD(&w->v.tx[id_slot(id)].gen) != id_gen(id))
			return -ENOTCONN;
		if (nap(w))
			return -EPIPE;
	}
	if (total <= WORKER_STAGE && ((flags & KCM_MORE) || w->stage_bytes)) {
		if (LOAD(&w->v.tx[id_slot(id)].gen) != id_gen(id))
			return -ENOTCONN;
		w->stage_conn = id;
		for (int i = 0; i < n; i++) {
			memcpy(w->stage + w->stage_bytes, iov[i].iov_base, iov[i].iov_len);
			w->stage_bytes += iov[i].iov_len;
		}
		w->stage_msgs++;
		return flags & KCM_MORE ? 0 : kcm_flush(w);
	}
	do {
		err = put(w, id, iov, n, total, 1, true);
	} while (err == -EAGAIN && (flags & KCM_WAIT) && !nap(w));
	if (!err)
		w->st->tx_bytes += total;
	else if (err == -EAGAIN)
		w->st->tx_again++;
	return err;
}

int kcm_send(struct kcm_worker *w, kcm_conn_id id, const void *data, size_t len, int flags)
{
	struct iovec iov = { .iov_base = (void *)data, .iov_len = len };

	return kcm_sendv(w, id, &iov, 1, flags);
}

/* Bytes that wait to be sent on a connection, in the kernel and in the owner. */
static uint64_t load_of(struct kcm_worker *w, uint32_t slot)
{
	kcm_conn_id id = make_id(slot, LOAD(&w->v.conns[slot].gen));
	int fd = worker_conn_fd(w, id), q = 0;
	struct pollfd p = { .fd = fd };

	if (fd < 0 || ioctl(fd, SIOCOUTQ, &q))
		return UINT64_MAX;
	/* Dead, and the owner does not know yet: nothing waits there, and nothing would arrive. */
	if (poll(&p, 1, 0) > 0 && p.revents & (POLLERR | POLLHUP))
		return UINT64_MAX;
	return (uint64_t)q + LOAD(&w->v.tx[slot].queued_bytes);
}

int kcm_send_any(struct kcm_worker *w, const void *data, size_t len, int flags, kcm_conn_id *out)
{
	static __thread uint32_t next;
	uint32_t n = w->v.cfg.n_conns, tried = 0;

	for (uint32_t i = 0; i < n && tried < 4; tried++) {
		uint64_t best_load = UINT64_MAX;
		uint32_t best = 0, seen = 0;
		kcm_conn_id id;
		int err;

		/* Look at a few connections in turn, take the least loaded. */
		for (; i < n && seen < 8; i++) {
			uint32_t slot = next++ % n, st = LOAD(&w->v.conns[slot].state);
			uint64_t l;

			if (st != KCM_CONN_ACTIVE && st != KCM_CONN_HELD && st != KCM_CONN_RESUME)
				continue;
			seen++;
			l = load_of(w, slot);
			if (l < best_load) {
				best_load = l;
				best = slot;
			}
		}
		if (best_load == UINT64_MAX)
			continue;
		id = make_id(best, LOAD(&w->v.conns[best].gen));
		err = kcm_send(w, id, data, len, flags & ~KCM_WAIT);
		if (!err) {
			if (out)
				*out = id;
			return 0;
		}
		if (err == -EAGAIN && best_load)
			return err;
		i = 0;
	}
	return -ENOTCONN;
}
