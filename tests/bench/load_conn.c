// SPDX-License-Identifier: GPL-2.0
/*
 * load_conn.c - one connection of the load generator.
 *
 * A message is a header and a slice of one static pattern, chosen by its sequence number. So it
 * can be made again from its slot at any time: nothing but the slot is kept until it is sent, and
 * checking a reply is a memcmp() and the comparison of a sum known beforehand.
 */
#include "load_conn.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define IO_BYTES    (256u * 1024)
#define COPY_BELOW  2048u /* smaller messages are copied, larger ones gathered */
#define SLICES	    64u	  /* different contents */
#define SLICE_STEP  8u
#define OPEN_SLOTS  4096u /* most in flight per connection in an open loop */
#define GATHER_MSGS 64u

static uint8_t pattern[BENCH_MAX_SIZE + SLICES * SLICE_STEP];
static uint32_t pattern_sum[SLICES];

static const uint8_t *msg_body(uint32_t seq)
{
	return pattern + seq % SLICES * SLICE_STEP;
}

static void pattern_fill(uint32_t size)
{
	uint64_t x = 88172645463325252ULL;

	for (size_t i = 0; i < sizeof(pattern); i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		pattern[i] = (uint8_t)x;
	}
	for (uint32_t i = 0; i < SLICES; i++)
		pattern_sum[i] = bench_sum(msg_body(i), size - BENCH_HDR);
}

int lthread_init(struct lthread *t, const struct bench_opts *o, const _Atomic uint32_t *phase)
{
	static bool filled;

	if (!filled)
		pattern_fill(o->size);
	filled = true;
	*t = (struct lthread){ .opts = o, .phase = phase };
	t->all = calloc(1, sizeof(*t->all));
	t->fast = calloc(1, sizeof(*t->fast));
	t->rx = malloc(IO_BYTES);
	t->tx = malloc(IO_BYTES);
	return t->all && t->fast && t->rx && t->tx ? 0 : -ENOMEM;
}

void lthread_reset(struct lthread *t)
{
	memset(t->all, 0, sizeof(*t->all));
	memset(t->fast, 0, sizeof(*t->fast));
	t->bad = 0;
	t->strayed = 0;
}

int lconn_init(struct lconn *c, const struct bench_opts *o, int fd, uint32_t id)
{
	*c = (struct lconn){ .fd = fd, .id = id };
	c->cap = o->mode == BENCH_OPEN ? OPEN_SLOTS : o->depth;
	c->free = calloc(c->cap, sizeof(*c->free));
	c->fifo = calloc(c->cap, sizeof(*c->fifo));
	c->slot = calloc(c->cap, sizeof(*c->slot));
	c->part = malloc(o->reply_size);
	if (!c->free || !c->fifo || !c->slot || !c->part)
		return -ENOMEM;
	for (uint32_t i = 0; i < c->cap; i++) {
		c->free[c->nr_free++] = i;
		c->slot[i].hdr = (struct bench_msg){ .len_be = htonl(o->size - BENCH_PREFIX),
						     .conn = id,
						     .slot = i };
	}
	return 0;
}

bool lconn_issue(struct lconn *c, uint64_t due_ns)
{
	struct lslot *s;
	uint32_t i;

	if (!c->nr_free)
		return false;
	i = c->free[--c->nr_free];
	s = &c->slot[i];
	s->busy = true;
	s->due_ns = due_ns;
	s->hdr.seq = c->seq++;
	c->fifo[(c->fifo_head + c->fifo_len++) % c->cap] = i;
	return true;
}

static const struct bench_msg *fifo_hdr(const struct lconn *c, uint32_t i)
{
	return &c->slot[c->fifo[(c->fifo_head + i) % c->cap]].hdr;
}

/* Copy the messages at the head of the queue one behind the other; returns the length. */
static size_t render_copied(struct lthread *t, struct lconn *c, struct iovec *iov)
{
	uint32_t size = t->opts->size, n = IO_BYTES / size;
	uint8_t *p = t->tx;

	if (n > c->fifo_len)
		n = c->fifo_len;
	for (uint32_t i = 0; i < n; i++, p += size) {
		const struct bench_msg *h = fifo_hdr(c, i);

		memcpy(p, h, BENCH_HDR);
		memcpy(p + BENCH_HDR, msg_body(h->seq), size - BENCH_HDR);
	}
	*iov = (struct iovec){ t->tx + c->sent, (size_t)(p - t->tx) - c->sent };
	return iov->iov_len;
}

/* Point at the messages at the head of the queue; returns the number of vectors. */
static uint32_t render_gathered(struct lthread *t, struct lconn *c, struct iovec *iov)
{
	uint32_t n = c->fifo_len < GATHER_MSGS ? c->fifo_len : GATHER_MSGS, skip = c->sent;

	for (uint32_t i = 0; i < n; i++) {
		const struct bench_msg *h = fifo_hdr(c, i);
		uint32_t of_hdr = skip < BENCH_HDR ? skip : BENCH_HDR, of_body = skip - of_hdr;

		iov[2 * i] = (struct iovec){ (uint8_t *)h + of_hdr, BENCH_HDR - of_hdr };
		iov[2 * i + 1] = (struct iovec){ (uint8_t *)msg_body(h->seq) + of_body,
						 t->opts->size - BENCH_HDR - of_body };
		skip = 0;
	}
	return 2 * n;
}

static void thread_fail(struct lthread *t, const struct lconn *c, const char *what, int err)
{
	if (!t->error[0])
		snprintf(t->error, sizeof(t->error), "connection %u: %s%s%s", c->id, what,
			 err ? ": " : "", err ? strerror(err) : "");
	t->dead = true;
}

void lconn_send(struct lthread *t, struct lconn *c)
{
	while (c->fifo_len) {
		struct iovec iov[2 * GATHER_MSGS];
		struct msghdr m = { .msg_iov = iov, .msg_iovlen = 1 };
		size_t want;
		ssize_t n;

		if (t->opts->size <= COPY_BELOW)
			render_copied(t, c, iov);
		else
			m.msg_iovlen = render_gathered(t, c, iov);
		want = 0;
		for (size_t i = 0; i < m.msg_iovlen; i++)
			want += iov[i].iov_len;
		n = sendmsg(c->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0) {
			if (errno != EAGAIN)
				thread_fail(t, c, "send", errno);
			return;
		}
		c->sent += (uint32_t)n;
		c->fifo_head = (c->fifo_head + c->sent / t->opts->size) % c->cap;
		c->fifo_len -= c->sent / t->opts->size;
		c->sent %= t->opts->size;
		if ((size_t)n < want)
			return;
	}
}

void lconn_refill(struct lthread *t, struct lconn *c)
{
	if (c->nr_free && atomic_load_explicit(t->phase, memory_order_relaxed) != LOAD_DRAIN) {
		uint64_t now = bench_now_ns();

		t->in_flight += c->nr_free;
		while (lconn_issue(c, now))
			;
	}
	lconn_send(t, c);
}

/* The connection whose request the reply at @p answers; @c got it. */
static struct lconn *reply_conn(const struct lthread *t, struct lconn *c, const uint8_t *p)
{
	struct bench_msg m;

	if (!t->all_conns)
		return c;
	memcpy(&m, p, sizeof(m));
	return m.conn < t->opts->conns ? &t->all_conns[m.conn] : c;
}

/* The slot that the reply at @p answers, NULL if it answers none or is wrong. */
static struct lslot *reply_check(const struct lthread *t, struct lconn *c, const uint8_t *p,
				 uint32_t len)
{
	struct bench_msg m;
	struct lslot *s;

	memcpy(&m, p, sizeof(m));
	if (len != t->opts->reply_size || m.conn != c->id || m.slot >= c->cap || !m.is_reply)
		return NULL;
	s = &c->slot[m.slot];
	if (!s->busy || s->hdr.seq != m.seq || m.sum != pattern_sum[m.seq % SLICES] ||
	    memcmp(p + BENCH_HDR, msg_body(m.seq), len - BENCH_HDR))
		return NULL;
	return s;
}

/* Check the complete replies in @p; returns how many bytes they took. */
static uint32_t receive_frames(struct lthread *t, struct lconn *c, const uint8_t *p, uint32_t avail)
{
	bool measure = atomic_load_explicit(t->phase, memory_order_relaxed) == LOAD_MEASURE;
	bool some_slow = t->opts->work == BENCH_WORK_SLOW;
	uint64_t now = bench_now_ns(), good = 0;
	uint32_t pos = 0;

	while (pos < avail) {
		uint32_t len = bench_frame_len(p + pos, avail - pos);
		struct lconn *to;
		struct lslot *s;

		if (len && len != t->opts->reply_size) {
			t->bad++;
			thread_fail(t, c, "reply of the wrong length", 0);
			return avail;
		}
		if (!len || len > avail - pos)
			break;
		to = reply_conn(t, c, p + pos);
		s = reply_check(t, to, p + pos, len);
		pos += len;
		if (!s) {
			t->bad++;
			thread_fail(t, c, "reply with wrong content, or to no request", 0);
			continue;
		}
		s->busy = false;
		to->free[to->nr_free++] = (uint32_t)(s - to->slot);
		good++;
		if (!measure)
			continue;
		t->strayed += to != c;
		hist_add(t->all, now - s->due_ns);
		if (some_slow && !bench_is_slow(t->opts, to->id, s->hdr.seq))
			hist_add(t->fast, now - s->due_ns);
	}
	t->in_flight -= good;
	atomic_store_explicit(&t->msgs, t->msgs + good, memory_order_relaxed);
	return pos;
}

void lconn_receive(struct lthread *t, struct lconn *c)
{
	for (;;) {
		uint32_t have = c->part_len, used;
		ssize_t n;

		memcpy(t->rx, c->part, have);
		n = recv(c->fd, t->rx + have, IO_BYTES - have, MSG_DONTWAIT);
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			thread_fail(t, c, n ? "recv" : "closed by the server", n ? errno : 0);
			return;
		}
		used = receive_frames(t, c, t->rx, have + (uint32_t)n);
		c->part_len = have + (uint32_t)n - used;
		memcpy(c->part, t->rx + used, c->part_len);
		/* A short read emptied the socket; edge triggered epoll reports what comes after.
		 */
		if ((uint32_t)n < IO_BYTES - have)
			return;
	}
}
