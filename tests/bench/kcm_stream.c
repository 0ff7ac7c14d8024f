// SPDX-License-Identifier: GPL-2.0
/*
 * kcm_stream.c - messages that nobody is answered: how many workers take a second, of mux and of
 * AF_KCM. As many are in flight as in the pipelined cases with replies; the clients know from the
 * workers' counters how many.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "kcm_bench.h"
#include "msg.h"

#define WARM_NS	       (300 * BENCH_NS_PER_MS)
#define ROUND_NS       BENCH_NS_PER_S
#define ROUND_QUICK_NS (500 * BENCH_NS_PER_MS)
#define DRAIN_NS       (30 * BENCH_NS_PER_S)
/* Looking is work too: the longer nothing happens, the less often. */
#define PAUSE_LEAST_NS 20000
#define PAUSE_MOST_NS  (2 * BENCH_NS_PER_MS)

/* Of the project: at least so much of AF_KCM's rate. */
#define GOAL_SMALL 3.0
#define GOAL_LARGE 1.5

struct stream_case {
	const char *name;
	uint32_t size, depth, workers;
	double goal;
};

struct stream_side {
	struct bench_opts o;
	struct kb_flood flood;
	pid_t pid;
	int err;
	uint64_t msgs, cpu_ns; /* of all measured time, CPU of the server alone */
};

static uint64_t taken(const struct stream_side *s, uint64_t *bad)
{
	uint64_t msgs = 0;

	for (uint32_t i = 0; i < BENCH_MAX_PIDS; i++) {
		msgs += atomic_load_explicit(&s->o.shared->taken[i].msgs, memory_order_relaxed);
		*bad += atomic_load_explicit(&s->o.shared->taken[i].bad, memory_order_relaxed);
	}
	return msgs;
}

static uint64_t in_flight(const struct stream_side *s, uint64_t *bad)
{
	return kb_flood_msgs(&s->flood) - taken(s, bad);
}

/* Until half of what may be in flight is, or the time is over. */
static void wait_for_room(const struct stream_side *s, uint64_t most, uint64_t end, uint64_t *bad)
{
	uint64_t pause = PAUSE_LEAST_NS;

	while (in_flight(s, bad) > most / 2 && bench_now_ns() < end && !*bad) {
		bench_sleep_ns(pause);
		pause = pause * 2 < PAUSE_MOST_NS ? pause * 2 : PAUSE_MOST_NS;
	}
}

/* Send for so long, never more in flight than allowed. Return: messages taken, or -errno. */
static int64_t push(struct stream_side *s, uint64_t ns)
{
	uint64_t end = bench_now_ns() + ns, bad = 0, before = taken(s, &bad);
	uint64_t most = (uint64_t)s->o.depth * KB_CONNS;

	while (bench_now_ns() < end && !bad && !contest_stopped) {
		uint64_t now = in_flight(s, &bad), room = now < most ? most - now : 0;

		for (; room >= s->o.depth; room -= s->o.depth) {
			ssize_t n = kb_flood_send(&s->flood);

			if (n < 0)
				return n;
		}
		wait_for_room(s, most, end, &bad);
	}
	return bad ? -EBADMSG : (int64_t)(taken(s, &bad) - before);
}

/* All that were sent as a whole must have been taken. */
static int drain(struct stream_side *s)
{
	uint64_t end = bench_now_ns() + DRAIN_NS, bad = 0;

	while (taken(s, &bad) != kb_flood_msgs(&s->flood)) {
		if (bad || bench_now_ns() > end)
			return bad ? -EBADMSG : -ENODATA;
		bench_sleep_ns(BENCH_NS_PER_MS);
	}
	return 0;
}

/* Return: messages a second; 0: @s->err says why there are none. */
static double stream_round(struct stream_side *s, uint64_t ns)
{
	uint64_t begun, cpu;
	int64_t msgs;
	double rate;

	if (s->err || contest_stopped)
		return 0;
	msgs = push(s, WARM_NS);
	begun = bench_now_ns();
	cpu = bench_server_cpu_ns(s->o.shared);
	if (msgs >= 0)
		msgs = push(s, ns);
	if (msgs < 0) {
		s->err = (int)msgs;
		return 0;
	}
	s->cpu_ns += bench_server_cpu_ns(s->o.shared) - cpu;
	s->msgs += (uint64_t)msgs;
	rate = (double)msgs * BENCH_NS_PER_S / (double)(bench_now_ns() - begun);
	s->err = drain(s);
	return s->err ? 0 : rate;
}

static void side_start(struct stream_side *s, const struct bench_server *server,
		       const struct stream_case *c)
{
	memset(s, 0, sizeof(*s));
	s->o = (struct bench_opts){ .size = c->size,
				    .reply_size = BENCH_MIN_SIZE,
				    .conns = KB_CONNS,
				    .depth = c->depth,
				    .workers = c->workers,
				    .one_way = true,
				    .shared = kb_shared() };
	s->err = s->o.shared ? contest_serve(server, &s->o, &s->pid) : -ENOMEM;
	if (!s->err)
		s->err = kb_flood_open(&s->flood, &s->o, c->depth);
	/* Until it is up and has taken something of every connection. */
	for (uint32_t i = 0; i < KB_CONNS && !s->err; i++)
		s->err = kb_flood_send(&s->flood) > 0 ? 0 : -EPIPE;
	if (!s->err)
		s->err = drain(s);
}

static void side_stop(struct stream_side *s)
{
	contest_unserve(&s->pid);
	kb_flood_close(&s->flood);
	if (s->o.shared)
		munmap(s->o.shared, sizeof(*s->o.shared));
}

static void note(struct sb_row *r, const struct stream_side *us, const struct stream_side *it)
{
	if (us->err || it->err)
		snprintf(r->note, sizeof(r->note), "%s failed: %s", us->err ? "mux" : "AF_KCM",
			 strerror(-(us->err ? us->err : it->err)));
	else if (us->msgs && it->msgs)
		snprintf(r->note, sizeof(r->note), "server's CPU us a message %.3g / %.3g",
			 (double)us->cpu_ns / 1e3 / (double)us->msgs,
			 (double)it->cpu_ns / 1e3 / (double)it->msgs);
}

static int run_case(const struct sb_opts *o, const struct stream_case *c)
{
	static struct stream_side side[KB_SIDES];
	struct sb_row *row[KB_SIDES];
	unsigned int from = o->report->n;
	int failed = 0;

	for (unsigned int i = 0; i < KB_SIDES; i++) {
		side_start(&side[i], kb_side[i], c);
		if (!i)
			continue;
		row[i] = sb_row(o->report, "stream", c->name, kb_side[i]->name, "x");
		snprintf(row[i]->side_unit, sizeof(row[i]->side_unit), "k");
		sb_goal(row[i], SB_AT_LEAST, c->goal);
	}
	for (unsigned int k = 0; k < o->rounds && !contest_stopped; k++) {
		double rate[KB_SIDES];

		for (unsigned int i = 0; i < KB_SIDES; i++) {
			unsigned int at = k % 2 ? KB_SIDES - 1 - i : i;

			rate[at] = stream_round(&side[at], o->quick ? ROUND_QUICK_NS : ROUND_NS);
		}
		for (unsigned int p = 1; p < KB_SIDES; p++) {
			if (side[0].err || side[p].err || !(rate[p] > 0))
				continue;
			sb_add(&row[p]->figure, rate[0] / rate[p]);
			sb_add(&row[p]->ours, rate[0] / 1e3);
			sb_add(&row[p]->theirs, rate[p] / 1e3);
		}
	}
	for (unsigned int i = 0; i < KB_SIDES; i++) {
		side_stop(&side[i]);
		failed |= side[i].err != 0;
		if (i)
			note(row[i], &side[0], &side[i]);
	}
	sb_print(o->report, from);
	return failed || contest_stopped;
}

int kb_stream(const struct sb_opts *o)
{
	static const struct stream_case cases[] = {
		{ "64 B, 2 workers", 64, 32, 2, GOAL_SMALL },
		{ "64 B, 4 workers", 64, 32, 4, GOAL_SMALL },
		/* As many as a segment of 64 KiB holds, of a client that never waits. */
		{ "64 B, full segments, 2 workers", 64, 1024, 2, GOAL_SMALL },
		{ "64 B, full segments, 4 workers", 64, 1024, 4, GOAL_SMALL },
		{ "5 KiB, 2 workers", 5120, 8, 2, GOAL_LARGE },
		{ "5 KiB, 4 workers", 5120, 8, 4, GOAL_LARGE },
	};
	int failed = 0;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		failed |= run_case(o, &cases[i]);
	return failed;
}
