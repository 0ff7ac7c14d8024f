// SPDX-License-Identifier: GPL-2.0
/*
 * migrate_rate.c - connections per second of a server of short connections, with us and without.
 *
 * The same threads serve a steered port and another one; clients change between the two every
 * SLICE. One CPU, never idle: the rate is what a connection costs both ends.
 */
#include "migrate_bench.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define WORKERS	   4
#define CLIENTS	   4
#define SLICE_MS   100
#define PAIRS	   2 /* a round */
#define MESSAGE	   64
#define GOAL_RATIO 0.97
#define SIDES	   2
#define WAIT_MS	   100

struct rate {
	struct mb_env e;
	int listener[WORKERS][SIDES];
	_Atomic int side, stop;
	_Atomic uint64_t done[SIDES], bad;
};

struct worker {
	struct rate *r;
	int *fd;
};

static void serve(int listener)
{
	char m[MESSAGE];
	int c;

	while ((c = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		if (recv(c, m, sizeof(m), MSG_WAITALL) == sizeof(m))
			send(c, m, sizeof(m), MSG_NOSIGNAL);
		close(c);
	}
}

static void *work(void *arg)
{
	struct worker *w = arg;
	struct pollfd p[SIDES] = { { .fd = w->fd[0], .events = POLLIN },
				   { .fd = w->fd[1], .events = POLLIN } };

	while (!w->r->stop) {
		poll(p, SIDES, WAIT_MS);
		for (int i = 0; i < SIDES; i++)
			if (p[i].revents)
				serve(p[i].fd);
	}
	return NULL;
}

static void *ask(void *arg)
{
	static const uint16_t ports[SIDES] = { MB_PORT, MB_PORT_PLAIN };
	struct rate *r = arg;
	char m[MESSAGE] = "", rest;

	while (!r->stop) {
		int side = r->side, fd = mb_connect(ports[side]);

		if (fd >= 0 && send(fd, m, sizeof(m), MSG_NOSIGNAL) == sizeof(m) &&
		    recv(fd, m, sizeof(m), MSG_WAITALL) == sizeof(m) && recv(fd, &rest, 1, 0) == 0)
			r->done[side]++;
		else
			r->bad++;
		if (fd >= 0)
			close(fd);
	}
	return NULL;
}

static double slice(struct rate *r, int side)
{
	uint64_t from, was;

	r->side = side;
	bench_sleep_ns(2 * BENCH_NS_PER_MS);
	was = r->done[side];
	from = bench_now_ns();
	bench_sleep_ns(SLICE_MS * BENCH_NS_PER_MS);
	return (double)(r->done[side] - was) * 1e9 / (double)(bench_now_ns() - from);
}

static void rounds(struct rate *r, unsigned int n, struct sb_row *row)
{
	slice(r, 0);
	slice(r, 1);
	for (unsigned int i = 0; i < n; i++) {
		double rate[SIDES] = {};

		/* There and back: a drift meets both. */
		for (int k = 0; k < PAIRS * 2; k++) {
			int side = (k & 1) ^ (k >> 1 & 1) ^ (int)(i & 1);

			rate[side] += slice(r, side) / PAIRS;
		}
		sb_add(&row->ours, rate[0] / 1000);
		sb_add(&row->theirs, rate[1] / 1000);
		sb_add(&row->figure, rate[0] / rate[1]);
	}
}

static int begin(struct rate *r)
{
	int err = mb_begin(&r->e);

	if (err)
		return err;
	err = mb_open(&r->e, MB_PORT, WORKERS);
	if (err)
		return err;
	r->e.view.mg->ctl.policy = KCM_MG_HASH;
	for (int i = 0; i < WORKERS; i++) {
		r->listener[i][0] = r->e.fd[i];
		r->listener[i][1] = mb_listener(&r->e, MB_PORT_PLAIN);
		if (r->listener[i][1] < 0)
			return r->listener[i][1];
	}
	return mb_program(&r->e, r->e.view.select_fd);
}

static void threads(struct rate *r, const struct sb_opts *o, struct sb_row *row)
{
	pthread_t t[WORKERS + CLIENTS];
	struct worker w[WORKERS];
	int n = 0;

	for (int i = 0; i < WORKERS; i++) {
		w[i] = (struct worker){ r, r->listener[i] };
		n += !pthread_create(&t[n], NULL, work, &w[i]);
	}
	for (int i = 0; i < CLIENTS; i++)
		n += !pthread_create(&t[n], NULL, ask, r);
	rounds(r, o->rounds, row);
	r->stop = 1;
	while (n)
		pthread_join(t[--n], NULL);
}

int mb_rate(const struct sb_opts *o)
{
	static struct rate r;
	unsigned int from = o->report->n;
	struct sb_row *row;
	int err;

	memset(&r, 0, sizeof(r));
	err = begin(&r);
	if (!err) {
		row = sb_row(o->report, "rate", "short connections", "without us", "x");
		snprintf(row->side_unit, sizeof(row->side_unit), "k/s");
		sb_goal(row, SB_AT_LEAST, GOAL_RATIO);
		threads(&r, o, row);
		if (r.bad) {
			snprintf(row->note, sizeof(row->note), "%llu failed",
				 (unsigned long long)r.bad);
			err = -EIO;
		}
		sb_print(o->report, from);
	}
	for (int i = 0; i < WORKERS; i++)
		if (r.listener[i][1] > 0)
			close(r.listener[i][1]);
	mb_end(&r.e);
	return err;
}
