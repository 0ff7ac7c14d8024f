// SPDX-License-Identifier: GPL-2.0
/*
 * load_client.c - the load generator's process: threads with an epoll loop and connections each.
 *
 * One recv() and one send() per connection and wake-up carry all the messages there are. Replies
 * may come in any order: a message names the slot of the client's table it belongs to.
 */
#include "load.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "load_conn.h"

#define EVENTS_PER_WAIT 64
#define IDLE_WAIT_NS	(5 * BENCH_NS_PER_MS)

struct client;

struct client_thread {
	struct client *client;
	struct lthread io;
	uint32_t first, nr; /* its connections */
	uint64_t next_ns;   /* BENCH_OPEN: when the next message is due */
	uint32_t next_conn;
	int epoll_fd;
	pthread_t thread;
};

struct client {
	const struct bench_opts *opts;
	struct load_round round;
	struct lconn *conn;
	struct client_thread *threads;
	_Atomic uint32_t phase;
	_Atomic uint64_t drain_until_ns;
};

static int client_connect(const struct bench_opts *o)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_port = htons(o->port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	bench_socket_options(fd);
	return connect(fd, (struct sockaddr *)&a, sizeof(a)) ? -errno : fd;
}

static int client_open(struct client *cl)
{
	const struct bench_opts *o = cl->opts;

	for (uint32_t t = 0; t < o->client_threads; t++) {
		struct client_thread *th = &cl->threads[t];
		int err = lthread_init(&th->io, o, &cl->phase);

		th->client = cl;
		th->io.all_conns = o->any_conn ? cl->conn : NULL;
		th->first = t * o->conns / o->client_threads;
		th->nr = (t + 1) * o->conns / o->client_threads - th->first;
		th->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
		if (err || th->epoll_fd < 0)
			return err ? err : -errno;
		for (uint32_t i = th->first; i < th->first + th->nr; i++) {
			int fd = client_connect(o);

			if (fd < 0)
				return fd;
			err = lconn_init(&cl->conn[i], o, fd, i);
			if (err)
				return err;
			if (epoll_ctl(th->epoll_fd, EPOLL_CTL_ADD, fd,
				      &(struct epoll_event){ .events = EPOLLIN | EPOLLOUT |
								       EPOLLRDHUP | EPOLLET,
							     .data.ptr = &cl->conn[i] }))
				return -errno;
		}
	}
	return 0;
}

/* Give every message that is due to its connection; returns the time until the next is. */
static uint64_t open_issue(struct client_thread *th)
{
	struct client *cl = th->client;
	uint64_t step = BENCH_NS_PER_S * cl->opts->client_threads / cl->round.rate;
	uint64_t now = bench_now_ns();
	uint32_t issued = 0;

	for (; th->next_ns <= now && issued < th->nr; issued++, th->next_ns += step) {
		struct lconn *c = &cl->conn[th->first + th->next_conn];

		/* The schedule stands: a message that finds no slot is late from then on. */
		if (!lconn_issue(c, th->next_ns))
			break;
		th->io.in_flight++;
		th->next_conn = (th->next_conn + 1) % th->nr;
		lconn_send(&th->io, c);
	}
	if (th->next_ns <= now)
		return issued ? 0 : BENCH_NS_PER_MS / 10;
	return th->next_ns - now;
}

static bool thread_done(struct client_thread *th)
{
	struct client *cl = th->client;

	if (atomic_load_explicit(&cl->phase, memory_order_relaxed) != LOAD_DRAIN)
		return false;
	return !th->io.in_flight || bench_now_ns() > atomic_load(&cl->drain_until_ns);
}

static void *client_loop(void *arg)
{
	struct epoll_event ev[EVENTS_PER_WAIT];
	struct client_thread *th = arg;
	struct client *cl = th->client;
	bool open = cl->round.mode == BENCH_OPEN;

	th->next_ns = bench_now_ns();
	for (uint32_t i = 0; i < th->nr && !open; i++)
		lconn_refill(&th->io, &cl->conn[th->first + i]);
	while (!thread_done(th) && !th->io.dead) {
		bool draining = atomic_load(&cl->phase) == LOAD_DRAIN;
		uint64_t wait_ns = open && !draining ? open_issue(th) : IDLE_WAIT_NS;
		struct timespec ts = { .tv_nsec = (long)(wait_ns < IDLE_WAIT_NS ? wait_ns
										: IDLE_WAIT_NS) };
		int n = epoll_pwait2(th->epoll_fd, ev, EVENTS_PER_WAIT, &ts, NULL);

		for (int i = 0; i < n; i++) {
			struct lconn *c = ev[i].data.ptr;

			lconn_receive(&th->io, c);
			if (open)
				lconn_send(&th->io, c);
			else if (!th->io.all_conns)
				lconn_refill(&th->io, c);
		}
		/* Whose replies they were is not known from who was ready. */
		for (uint32_t i = 0; n > 0 && !open && th->io.all_conns && i < th->nr; i++)
			lconn_refill(&th->io, &th->io.all_conns[i]);
	}
	return NULL;
}

static uint64_t client_msgs(const struct client *cl)
{
	uint64_t sum = 0;

	for (uint32_t t = 0; t < cl->opts->client_threads; t++)
		sum += atomic_load_explicit(&cl->threads[t].io.msgs, memory_order_relaxed);
	return sum;
}

struct sample {
	uint64_t msgs, at_ns, server_ns, client_ns;
};

static struct sample client_sample(const struct client *cl)
{
	return (struct sample){
		.msgs = client_msgs(cl),
		.at_ns = bench_now_ns(),
		.server_ns = bench_server_cpu_ns(cl->opts->shared),
		.client_ns = bench_clock_ns(CLOCK_PROCESS_CPUTIME_ID),
	};
}

static void client_collect(struct client *cl, struct load_result *res)
{
	for (uint32_t t = 0; t < cl->opts->client_threads; t++) {
		struct lthread *io = &cl->threads[t].io;

		res->bad += io->bad;
		res->lost += io->in_flight;
		res->strayed += io->strayed;
		hist_merge(&res->all, io->all);
		hist_merge(&res->fast, io->fast);
		if (io->error[0] && !res->error[0])
			snprintf(res->error, sizeof(res->error), "%s", io->error);
		lthread_reset(io);
	}
	if (res->lost && !res->error[0])
		snprintf(res->error, sizeof(res->error), "no reply within %u ms",
			 cl->round.drain_ms);
}

static int client_round(struct client *cl, struct load_result *res)
{
	uint32_t nr = cl->round.mode == BENCH_IDLE ? 0 : cl->opts->client_threads;
	struct sample a, b;

	atomic_store(&cl->phase, LOAD_WARM);
	for (uint32_t t = 0; t < nr; t++)
		if (pthread_create(&cl->threads[t].thread, NULL, client_loop, &cl->threads[t]))
			return -ENOMEM;
	bench_sleep_ns(cl->round.warm_ms * BENCH_NS_PER_MS);
	a = client_sample(cl);
	atomic_store(&cl->phase, LOAD_MEASURE);
	bench_sleep_ns(cl->round.measure_ms * BENCH_NS_PER_MS);
	atomic_store(&cl->drain_until_ns, bench_now_ns() + cl->round.drain_ms * BENCH_NS_PER_MS);
	b = client_sample(cl);
	atomic_store(&cl->phase, LOAD_DRAIN);
	for (uint32_t t = 0; t < nr; t++)
		pthread_join(cl->threads[t].thread, NULL);
	client_collect(cl, res);
	res->msgs = b.msgs - a.msgs;
	res->duration_ns = b.at_ns - a.at_ns;
	res->server_cpu_ns = b.server_ns - a.server_ns;
	res->client_cpu_ns = b.client_ns - a.client_ns;
	return 0;
}

int load_client(const struct bench_opts *o, int ctl_fd, struct load_result *res)
{
	struct client cl = {
		.opts = o,
		.conn = calloc(o->conns, sizeof(*cl.conn)),
		.threads = calloc(o->client_threads, sizeof(*cl.threads)),
	};
	int err = cl.conn && cl.threads ? client_open(&cl) : -ENOMEM;

	if (err) {
		fprintf(stderr, "bench_mux: load generator: %u connections to port %u: %s\n",
			o->conns, o->port, strerror(-err));
		return err;
	}
	/* Open-loop schedules are kept to the microsecond. */
	prctl(PR_SET_TIMERSLACK, 1UL);
	while (read(ctl_fd, &cl.round, sizeof(cl.round)) == sizeof(cl.round)) {
		err = client_round(&cl, res);
		if (err || write(ctl_fd, "d", 1) != 1)
			return err ? err : -EPIPE;
	}
	return 0;
}
