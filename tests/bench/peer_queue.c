// SPDX-License-Identifier: GPL-2.0
/*
 * peer_queue.c - peer (c): an I/O thread frames, a queue balances, workers serve and reply.
 *
 * What mux replaces. The I/O thread reads many messages at once into reference counted chunks and
 * queues pointers into them, so nothing is copied; it publishes once per read and rings once per
 * epoll round. Workers take batches and answer a run of messages of one connection with one send().
 */
#include "bench.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "msg.h"
#include "sender.h"
#include "server.h"
#include "spmc.h"

#define EVENTS_PER_ROUND 64
#define CELLS_PER_TURN	 32
#define READS_PER_TURN	 4
#define CHUNK_BYTES	 (256u * 1024)
/* What is queued should still be in the cache when a worker comes to it. */
#define QUEUED_BYTES_MOST (4u * 1024 * 1024)
/* Rounds are long if many connections are ready: do not let sleepers wait for the end of one. */
#define TURNS_PER_ANNOUNCE 8

struct chunk {
	_Atomic uint32_t refs; /* one per queued message, one of its I/O thread */
	uint32_t used;	       /* I/O thread only */
	struct chunk *next;
	uint8_t data[CHUNK_BYTES];
};

struct qconn {
	struct sender tx;
	_Atomic uint32_t refs; /* one per queued message, one of the I/O thread */
	struct chunk *chunk;   /* I/O thread: set while it holds a part of a message, */
	uint32_t start;	       /* which begins here and ends at chunk->used */
};

struct qserver {
	const struct bench_opts *opts;
	struct spmc queue;
	_Atomic(struct chunk *) freed; /* by workers, taken all at once by the I/O thread */
	struct chunk *spare;	       /* I/O thread */
	struct chunk *current;	       /* I/O thread: reads go here, one connection after another */
	uint32_t unannounced;	       /* I/O thread: queued since the last wake-up */
	_Atomic uint64_t queued_bytes;
	_Atomic uint32_t io_waits; /* futex: the I/O thread waits for fewer queued bytes */
	uint32_t per_turn;
	int epoll_fd;
};

static void chunk_put(struct qserver *s, struct chunk *k, uint32_t n)
{
	if (atomic_fetch_sub_explicit(&k->refs, n, memory_order_acq_rel) != n)
		return;
	k->next = atomic_load_explicit(&s->freed, memory_order_relaxed);
	while (!atomic_compare_exchange_weak_explicit(&s->freed, &k->next, k, memory_order_release,
						      memory_order_relaxed))
		;
}

static struct chunk *chunk_get(struct qserver *s)
{
	struct chunk *k;

	if (!s->spare)
		s->spare = atomic_exchange_explicit(&s->freed, NULL, memory_order_acquire);
	k = s->spare;
	if (k)
		s->spare = k->next;
	else
		k = malloc(sizeof(*k));
	if (!k)
		abort();
	atomic_init(&k->refs, 1);
	k->used = 0;
	return k;
}

static void qconn_put(struct qconn *c, uint32_t n)
{
	if (atomic_fetch_sub_explicit(&c->refs, n, memory_order_acq_rel) != n)
		return;
	sender_close(&c->tx);
	free(c);
}

static void queued_bytes_sub(struct qserver *s, uint64_t n)
{
	uint64_t left = atomic_fetch_sub(&s->queued_bytes, n) - n;

	if (atomic_load(&s->io_waits) && left <= QUEUED_BYTES_MOST / 2 &&
	    atomic_exchange(&s->io_waits, 0))
		spmc_futex(&s->io_waits, FUTEX_WAKE_PRIVATE, 1);
}

static void *queue_worker(void *arg)
{
	struct qserver *s = arg;
	struct spmc_cell cell[CELLS_PER_TURN];
	uint8_t *tx = malloc(SERVE_BUF_BYTES);

	if (!tx)
		abort();
	for (;;) {
		uint32_t n = spmc_pop(&s->queue, cell, s->per_turn), i = 0;

		while (i < n) {
			struct qconn *c = cell[i].conn;
			uint32_t first = i, len = 0, used = 0;

			for (; i < n && cell[i].conn == c &&
			       len + s->opts->reply_size <= SERVE_BUF_BYTES;
			     i++) {
				bench_work(s->opts, cell[i].msg);
				len += bench_reply(s->opts, cell[i].msg, (uint32_t)cell[i].len,
						   tx + len);
				used += (uint32_t)cell[i].len;
			}
			sender_send(&c->tx, tx, len);
			while (first < i) {
				struct chunk *k = cell[first].chunk;
				uint32_t run = 0;

				for (; first < i && cell[first].chunk == k; first++)
					run++;
				chunk_put(s, k, run);
				qconn_put(c, run);
			}
			queued_bytes_sub(s, used);
		}
	}
	return NULL;
}

static void announce(struct qserver *s)
{
	if (s->unannounced)
		spmc_wake(&s->queue, (s->unannounced + s->per_turn - 1) / s->per_turn);
	s->unannounced = 0;
}

/* The backpressure of this design: nothing is read until workers have caught up. */
static void io_throttle(struct qserver *s)
{
	if (atomic_load_explicit(&s->queued_bytes, memory_order_relaxed) <= QUEUED_BYTES_MOST)
		return;
	announce(s);
	for (;;) {
		atomic_store(&s->io_waits, 1);
		if (atomic_load(&s->queued_bytes) <= QUEUED_BYTES_MOST / 2)
			break;
		spmc_futex(&s->io_waits, FUTEX_WAIT_PRIVATE, 1);
	}
	atomic_store(&s->io_waits, 0);
}

/* Let workers have the @n messages of @c, @bytes long, that are in the queue's next cells. */
static void io_publish(struct qserver *s, struct qconn *c, struct chunk *k, uint32_t n,
		       uint64_t bytes)
{
	if (!n)
		return;
	atomic_fetch_add(&s->queued_bytes, bytes);
	atomic_fetch_add_explicit(&k->refs, n, memory_order_relaxed);
	atomic_fetch_add_explicit(&c->refs, n, memory_order_relaxed);
	spmc_publish(&s->queue, n);
	s->unannounced += n;
	if (s->unannounced >= s->per_turn * TURNS_PER_ANNOUNCE)
		announce(s);
}

/* Queue the complete messages that @k has of @c from c->start on; -EPROTO on nonsense. */
static int io_frame(struct qserver *s, struct qconn *c, struct chunk *k)
{
	uint32_t n = 0, room = spmc_room(&s->queue), first = c->start;
	int err = 0;

	while (c->start < k->used) {
		const uint8_t *p = k->data + c->start;
		uint32_t len = bench_frame_len(p, k->used - c->start);

		if (len > BENCH_MAX_SIZE || (len && len < BENCH_HDR))
			err = -EPROTO;
		if (err || !len || len > k->used - c->start)
			break;
		/* Not reached by way of bytes: only messages of less than 64 bytes fill the ring.
		 */
		while (n == room) {
			io_publish(s, c, k, n, c->start - first);
			announce(s);
			n = 0;
			first = c->start;
			room = spmc_room(&s->queue);
			if (!room)
				bench_sleep_ns(50000);
		}
		*spmc_cell_at(&s->queue, n++) =
			(struct spmc_cell){ .conn = c, .chunk = k, .msg = p, .len = len };
		c->start += len;
	}
	io_publish(s, c, k, n, c->start - first);
	return err;
}

/* The chunk that the next bytes of @c go to, with room for at least one whole message. */
static struct chunk *io_chunk(struct qserver *s, struct qconn *c)
{
	struct chunk *k = c->chunk;

	if (k && CHUNK_BYTES - k->used < BENCH_MAX_SIZE) {
		struct chunk *fresh = chunk_get(s);

		fresh->used = k->used - c->start;
		memcpy(fresh->data, k->data + c->start, fresh->used);
		chunk_put(s, k, 1);
		c->start = 0;
		return fresh;
	}
	if (k)
		return k;
	k = s->current;
	s->current = NULL;
	/* All of it is consumed: start over, it is still in the cache. */
	if (k && atomic_load_explicit(&k->refs, memory_order_acquire) == 1)
		k->used = 0;
	if (k && CHUNK_BYTES - k->used < BENCH_MAX_SIZE) {
		chunk_put(s, k, 1);
		k = NULL;
	}
	if (!k)
		k = chunk_get(s);
	c->start = k->used;
	return k;
}

/* @c keeps @k while it holds a part of its message, else the next connection goes on in it. */
static void io_keep(struct qserver *s, struct qconn *c, struct chunk *k)
{
	c->chunk = c->start < k->used ? k : NULL;
	if (c->chunk)
		return;
	if (s->current)
		chunk_put(s, s->current, 1);
	s->current = k;
}

/* -errno when the connection is over. */
static int io_read(struct qserver *s, struct qconn *c)
{
	for (int i = 0; i < READS_PER_TURN; i++) {
		struct chunk *k = io_chunk(s, c);
		uint32_t room = CHUNK_BYTES - k->used;
		ssize_t n = recv(c->tx.fd, k->data + k->used, room, 0);
		int err = n > 0 ? 0 : n ? -errno : -ECONNRESET;

		if (n > 0) {
			k->used += (uint32_t)n;
			err = io_frame(s, c, k);
		}
		io_keep(s, c, k);
		if (err)
			return err == -EAGAIN ? 0 : err;
		if ((uint32_t)n < room)
			return 0;
	}
	return 0;
}

static void io_event(struct qserver *s, struct qconn *c, uint32_t events)
{
	int err = 0;

	if (events & EPOLLOUT)
		sender_writable(&c->tx);
	io_throttle(s);
	if (events & EPOLLIN)
		err = io_read(s, c);
	else if (events & (EPOLLERR | EPOLLHUP))
		err = -ECONNRESET;
	if (!err)
		return;
	epoll_ctl(s->epoll_fd, EPOLL_CTL_DEL, c->tx.fd, NULL);
	if (c->chunk)
		chunk_put(s, c->chunk, 1);
	qconn_put(c, 1);
}

static int io_accept(struct qserver *s)
{
	int fd = serve_accept(s->opts->listen_fd);
	struct qconn *c;

	if (fd < 0)
		return fd;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	sender_init(&c->tx, fd, s->epoll_fd, c);
	atomic_init(&c->refs, 1);
	return epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd,
			 &(struct epoll_event){ .events = EPOLLIN, .data.ptr = c })
		       ? -errno
		       : 0;
}

static int queue_run(const struct bench_opts *o)
{
	struct qserver *s = aligned_alloc(SPMC_CACHELINE, sizeof(*s));
	struct epoll_event ev[EVENTS_PER_ROUND];

	if (!s)
		return -ENOMEM;
	memset(s, 0, sizeof(*s));
	s->opts = o;
	s->per_turn = bench_messages_per_turn(o, CELLS_PER_TURN);
	s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, o->listen_fd,
		      &(struct epoll_event){ .events = EPOLLIN, .data.ptr = NULL }))
		return -errno;
	for (uint32_t i = 0; i < o->workers; i++) {
		pthread_t thread;

		if (pthread_create(&thread, NULL, queue_worker, s))
			return -ENOMEM;
	}
	for (;;) {
		int n = epoll_wait(s->epoll_fd, ev, EVENTS_PER_ROUND, -1);

		for (int i = 0; i < n; i++) {
			int err = 0;

			if (ev[i].data.ptr)
				io_event(s, ev[i].data.ptr, ev[i].events);
			else
				err = io_accept(s);
			if (err && err != -EAGAIN)
				return err;
		}
		announce(s);
	}
}

const struct bench_server bench_peer_queue = {
	.name = "queue",
	.label = "(c)",
	.about = "one I/O thread, a queue, workers",
	.run = queue_run,
};
