// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* detach.c - take a connection out of a mux, its stream whole. */
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
		tcp_received(o->fd) - o->rx_base - m->v.conns[o->slot].bytes - conn_in_hand(m, o);

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
		else if (i == DETACH_TRIES ||
			 o->left_n - begun > 2U * (uint32_t)window + DETACH_MUCH)
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
