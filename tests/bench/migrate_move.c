// SPDX-License-Identifier: GPL-2.0
/*
 * migrate_move.c - a listener with many connections in its queue closes: how long until the last
 * of them has been accepted elsewhere, and how evenly they are spread.
 */
#include "migrate_bench.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define QUEUED	     10000
#define TO	     4 /* listeners of the new generation */
#define STALLED_NS   (5ULL * BENCH_NS_PER_S)
#define GOAL_UNEVEN  (QUEUED / 100.0 / TO + 2)
#define ROUNDS_FEWER 3 /* a round takes a second */

enum side {
	OURS,
	SYSCTL,
	NOTHING,
	SIDES,
};

static const char *const side_name[SIDES] = {
	[SYSCTL] = "tcp_migrate_req=1 alone",
	[NOTHING] = "nothing: all are reset",
};

struct moved {
	struct sb_series all_ms, close_ns, uneven, accepted;
};

struct move {
	struct mb_env e;
	int client[QUEUED], old;
	struct moved side[SIDES];
};

static int fill_queue(struct move *m, uint16_t port)
{
	for (int i = 0; i < QUEUED; i++) {
		m->client[i] = mb_connect(port);
		if (m->client[i] < 0)
			return mb_failed(&m->e, "connect", m->client[i]);
	}
	return 0;
}

/* Until all are there, or nobody comes any more. */
static unsigned int accept_all(struct move *m, unsigned int each[TO])
{
	uint64_t until = bench_now_ns() + STALLED_NS;
	struct pollfd p[TO];
	unsigned int have = 0;

	memset(each, 0, TO * sizeof(*each));
	for (int i = 0; i < TO; i++)
		p[i] = (struct pollfd){ .fd = m->e.fd[i], .events = POLLIN };
	while (have < QUEUED && bench_now_ns() < until) {
		if (poll(p, TO, 100) <= 0)
			break;
		for (int i = 0; i < TO; i++) {
			int c = p[i].revents ? accept4(p[i].fd, NULL, NULL, SOCK_CLOEXEC) : -1;

			if (c < 0)
				continue;
			each[i]++;
			have++;
			close(c);
		}
	}
	return have;
}

static void note(struct moved *to, uint64_t t0, uint64_t t1, unsigned int have,
		 const unsigned int each[TO])
{
	unsigned int worst = 0;

	for (int i = 0; i < TO; i++) {
		unsigned int off = (unsigned int)abs((int)each[i] - QUEUED / TO);

		worst = off > worst ? off : worst;
	}
	sb_add(&to->close_ns, (double)(t1 - t0) / QUEUED);
	sb_add(&to->accepted, have);
	if (!have)
		return;
	sb_add(&to->all_ms, (double)(bench_now_ns() - t0) / 1e6);
	sb_add(&to->uneven, worst);
}

static int one(struct move *m, enum side side)
{
	uint16_t port = side == OURS ? MB_PORT : MB_PORT_PLAIN;
	unsigned int each[TO], have;
	uint64_t t0, t1;
	int err = mb_sysctl("ipv4/tcp_migrate_req", side == SYSCTL ? "1" : "0");

	if (err)
		return mb_failed(&m->e, "net.ipv4.tcp_migrate_req", err);
	for (int i = 0; i < QUEUED; i++)
		m->client[i] = -1;
	err = mb_open(&m->e, port, 1);
	if (!err && side == OURS)
		err = mb_program(&m->e, m->e.view.select_fd);
	m->old = m->e.fd[0];
	m->e.n = 0;
	err = err ?: fill_queue(m, port);
	/* The old one is not among those that are waited for. */
	err = err ?: mb_open(&m->e, port, 0);
	for (int i = 0; i < TO && !err; i++) {
		int fd = mb_listener(&m->e, port);

		err = fd < 0 ? fd : 0;
		if (!err)
			m->e.fd[m->e.n++] = fd;
	}
	if (!err) {
		t0 = bench_now_ns();
		close(m->old);
		t1 = bench_now_ns();
		have = accept_all(m, each);
		note(&m->side[side], t0, t1, have, each);
	}
	for (int i = 0; i < QUEUED; i++)
		if (m->client[i] >= 0)
			close(m->client[i]);
	mb_close(&m->e);
	return err;
}

static void row(struct sb_report *r, const char *what, const char *peer, const char *unit,
		const struct sb_series *ours, const struct sb_series *theirs, double goal)
{
	struct sb_row *row = sb_row(r, "move", what, peer, "x");

	snprintf(row->side_unit, sizeof(row->side_unit), "%s", unit);
	row->ours = *ours;
	row->theirs = *theirs;
	if (goal > 0) {
		row->figure = *ours;
		row->unit[0] = '\0';
		sb_goal(row, SB_AT_MOST, goal);
		return;
	}
	for (unsigned int i = 0; i < ours->n && i < theirs->n; i++)
		sb_add(&row->figure, ours->v[i] / theirs->v[i]);
}

static void report(struct move *m, struct sb_report *r)
{
	struct moved *us = &m->side[OURS];

	row(r, "close() to the last accepted", side_name[SYSCTL], "ms", &us->all_ms,
	    &m->side[SYSCTL].all_ms, 0);
	for (int side = SYSCTL; side < SIDES; side++) {
		row(r, "close(), a queued connection", side_name[side], "ns", &us->close_ns,
		    &m->side[side].close_ns, 0);
		row(r, "accepted of 10000", side_name[side], "", &us->accepted,
		    &m->side[side].accepted, 0);
	}
	row(r, "most off the even share, of 2500", side_name[SYSCTL], "", &us->uneven,
	    &m->side[SYSCTL].uneven, GOAL_UNEVEN);
}

int mb_move(const struct sb_opts *o)
{
	static struct move m;
	unsigned int from = o->report->n, rounds = o->rounds / ROUNDS_FEWER + 1;
	int err;

	memset(&m, 0, sizeof(m));
	err = mb_begin(&m.e);
	for (unsigned int i = 0; i < rounds && !err; i++)
		for (unsigned int k = 0; k < SIDES && !err; k++)
			err = one(&m, (enum side)((i + k) % SIDES));
	if (!err) {
		report(&m, o->report);
		sb_print(o->report, from);
	}
	mb_end(&m.e);
	return err;
}
