// SPDX-License-Identifier: GPL-2.0
/*
 * serve.c - read, frame, serve and answer one connection: what servers (a) and (b) share.
 *
 * One recv() into a large buffer, every complete message in it served in place, one send() for
 * all their replies. A connection holds a buffer only while part of a message is waiting.
 */
#include "bench.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "msg.h"
#include "server.h"

/* Reads of one connection in one turn, so that one busy connection does not starve others. */
#define READS_PER_TURN 4

int serve_accept(int listen_fd)
{
	int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int serve_worker_init(struct serve_worker *w, const struct bench_opts *o)
{
	*w = (struct serve_worker){ .opts = o, .tx = malloc(SERVE_BUF_BYTES) };
	return w->tx ? 0 : -ENOMEM;
}

static struct serve_buf *buf_get(struct serve_worker *w)
{
	struct serve_buf *b = w->free_bufs;

	if (!b)
		return malloc(sizeof(*b));
	w->free_bufs = b->next;
	return b;
}

static void buf_put(struct serve_worker *w, struct serve_buf *b)
{
	b->next = w->free_bufs;
	w->free_bufs = b;
}

static enum serve_result conn_close(struct serve_worker *w, struct serve_conn *c)
{
	if (c->rx)
		buf_put(w, c->rx);
	free(c->pending);
	close(c->fd);
	*c = (struct serve_conn){ .fd = -1 };
	return SERVE_CLOSED;
}

/* Send what an earlier turn could not; 0 when nothing is left, -EAGAIN when something is. */
static int pending_flush(struct serve_conn *c)
{
	while (c->pending_off < c->pending_len) {
		ssize_t n = send(c->fd, c->pending + c->pending_off,
				 c->pending_len - c->pending_off, MSG_NOSIGNAL);

		if (n < 0)
			return -errno;
		c->pending_off += (uint32_t)n;
	}
	c->pending_off = c->pending_len = 0;
	return 0;
}

/* Send the replies of this turn; those that do not fit wait in c->pending: -EAGAIN. */
static int tx_flush(struct serve_worker *w, struct serve_conn *c)
{
	uint32_t len = w->tx_len;
	ssize_t n;

	if (!len)
		return 0;
	w->tx_len = 0;
	n = send(c->fd, w->tx, len, MSG_NOSIGNAL);
	if (n < 0 && errno != EAGAIN)
		return -errno;
	if (n < 0)
		n = 0;
	if ((uint32_t)n == len)
		return 0;
	if (!c->pending)
		c->pending = malloc(SERVE_BUF_BYTES);
	if (!c->pending)
		return -ENOMEM;
	c->pending_off = 0;
	c->pending_len = len - (uint32_t)n;
	memcpy(c->pending, w->tx + n, c->pending_len);
	return -EAGAIN;
}

/* Serve the complete messages in the buffer; -EAGAIN when their replies are stuck. */
static int conn_serve(struct serve_worker *w, struct serve_conn *c)
{
	const struct bench_opts *o = w->opts;
	int err;

	while (c->start < c->end) {
		const uint8_t *p = c->rx->data + c->start;
		uint32_t len = bench_frame_len(p, c->end - c->start);

		if (len > BENCH_MAX_SIZE || (len && len < BENCH_HDR))
			return -EPROTO;
		if (!len || len > c->end - c->start)
			break;
		if (w->tx_len + o->reply_size > SERVE_BUF_BYTES || bench_work_is_long(o, p)) {
			err = tx_flush(w, c);
			if (err)
				return err;
		}
		bench_work(o, p);
		w->tx_len += bench_reply(o, p, len, w->tx + w->tx_len);
		c->start += len;
	}
	return tx_flush(w, c);
}

/* Make room for at least one whole message behind what is there. */
static int rx_prepare(struct serve_worker *w, struct serve_conn *c)
{
	if (!c->rx) {
		c->rx = buf_get(w);
		c->start = c->end = 0;
		return c->rx ? 0 : -ENOMEM;
	}
	if (SERVE_BUF_BYTES - c->end < BENCH_MAX_SIZE) {
		memmove(c->rx->data, c->rx->data + c->start, c->end - c->start);
		c->end -= c->start;
		c->start = 0;
	}
	return 0;
}

/* Give the buffer back unless it holds a part of a message. */
static void rx_release(struct serve_worker *w, struct serve_conn *c)
{
	if (c->rx && c->start == c->end) {
		buf_put(w, c->rx);
		c->rx = NULL;
	}
}

enum serve_result serve_ready(struct serve_worker *w, struct serve_conn *c)
{
	int err = pending_flush(c);

	if (!err && c->rx)
		err = conn_serve(w, c);
	for (int i = 0; !err && i < READS_PER_TURN; i++) {
		uint32_t room;
		ssize_t n;

		if (rx_prepare(w, c))
			return conn_close(w, c);
		room = SERVE_BUF_BYTES - c->end;
		n = recv(c->fd, c->rx->data + c->end, room, 0);
		if (n < 0 && errno == EAGAIN)
			break;
		if (n <= 0)
			return conn_close(w, c);
		c->end += (uint32_t)n;
		err = conn_serve(w, c);
		/* A short read emptied the socket: the call that says so can be spared. */
		if ((uint32_t)n < room)
			break;
	}
	if (err && err != -EAGAIN)
		return conn_close(w, c);
	rx_release(w, c);
	return err ? SERVE_WANT_OUT : SERVE_IDLE;
}
