// SPDX-License-Identifier: GPL-2.0
/*
 * report.c - the table and the summary of the benchmark.
 */
#include "report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v, unsigned int n)
{
	if (!n)
		return 0;
	qsort(v, n, sizeof(*v), by_value);
	return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

double score_rate(const struct score *s)
{
	double v[ROUNDS_MAX];

	memcpy(v, s->rate, sizeof(v));
	return median(v, s->rounds);
}

double score_cpu_ns(const struct score *s)
{
	return s->msgs ? (double)(s->server_cpu_ns + s->client_cpu_ns) / (double)s->msgs : 0;
}

void report_head(const struct report *r)
{
	for (unsigned int i = 0; i < r->nr_servers; i++)
		if (r->enabled[i])
			printf("%-8s %-4s %s\n", r->server[i]->name, r->server[i]->label,
			       r->server[i]->about);
	printf("\n%-22s %-8s %10s %7s %9s %9s %9s %8s %8s\n", "case", "server", "msg/s", "mux/it",
	       "p50 us", "p99 us", "p99 fast", "cpu ns", "server");
}

static void print_idle(const struct score *s)
{
	printf(" silent: the server used %.1f us of CPU per second\n",
	       (double)s->server_cpu_ns / 1000 / ((double)s->duration_ns / BENCH_NS_PER_S));
}

void report_case(const struct report *r, const struct outcome *o)
{
	double mux = score_rate(&o->score[0]);

	for (unsigned int i = 0; i < r->nr_servers; i++) {
		const struct score *s = &o->score[i];
		double rate = score_rate(s), per_msg = s->msgs ? 1.0 / (double)s->msgs : 0;

		if (!s->ran)
			continue;
		printf("%-22s %-8s", o->what->name, r->server[i]->name);
		if (s->error[0]) {
			printf(" failed: %s\n", s->error);
			continue;
		}
		if (o->what->group == CASE_IDLE) {
			print_idle(s);
			continue;
		}
		printf(" %10.0f ", rate);
		if (i && o->score[0].ran && !o->score[0].error[0] && rate > 0)
			printf("%7.2f ", mux / rate);
		else
			printf("%7s ", "");
		printf("%9.1f %9.1f ", (double)s->p50_ns / 1000, (double)s->p99_ns / 1000);
		if (s->fast_p99_ns)
			printf("%9.1f ", (double)s->fast_p99_ns / 1000);
		else
			printf("%9s ", "");
		printf("%8.0f %8.0f\n", score_cpu_ns(s), (double)s->server_cpu_ns * per_msg);
	}
	fflush(stdout);
}

enum goal_measure {
	GOAL_RATE, /* mux msgs/s over peer msgs/s: more is better */
	GOAL_P99,  /* mux p99 over peer p99: less is better */
};

struct goal {
	const char *text;
	enum case_group group;
	uint32_t size;	/* 0 = any */
	bool few_conns; /* only cases with more workers than connections */
	const struct bench_server *peer;
	enum goal_measure measure;
	double goal;
};

static const struct goal goals[] = {
	{ "5 % take 5 ms: msg/s", CASE_SLOW, 0, true, &bench_peer_pinned, GOAL_RATE, 1.62 },
	{ "each blocks 1 ms: msg/s", CASE_BLOCK, 0, true, &bench_peer_pinned, GOAL_RATE, 1.62 },
	{ "5 % take 5 ms: p99", CASE_SLOW, 0, false, &bench_peer_queue, GOAL_P99, 1 },
	{ "each blocks 1 ms: p99", CASE_BLOCK, 0, false, &bench_peer_queue, GOAL_P99, 1 },
	{ "5 % take 5 ms, fixed rate: p99", CASE_SLOW_OPEN, 0, false, &bench_peer_queue, GOAL_P99,
	  1 },
	{ "each blocks 1 ms, fixed rate: p99", CASE_BLOCK_OPEN, 0, false, &bench_peer_queue,
	  GOAL_P99, 1 },
	{ "pipelined 5 KiB: msg/s", CASE_PIPELINED, 5120, false, &bench_peer_queue, GOAL_RATE,
	  0.9 },
	{ "pipelined 64 B: msg/s", CASE_PIPELINED, 64, false, &bench_peer_queue, GOAL_RATE, 0.65 },
	{ "pipelined 64 B: msg/s", CASE_PIPELINED, 64, false, &bench_peer_pinned, GOAL_RATE, 0.35 },
};

/* The ratios of all cases that @g is about; returns how many. */
static unsigned int goal_ratios(const struct report *r, const struct goal *g, double *v)
{
	unsigned int n = 0, peer = 0;

	while (peer < r->nr_servers && r->server[peer] != g->peer)
		peer++;
	if (peer == r->nr_servers)
		return 0;
	for (unsigned int i = 0; i < r->nr_outcomes; i++) {
		const struct outcome *o = &r->outcome[i];
		const struct score *m = &o->score[0], *p = &o->score[peer];
		double over, under;

		if (o->what->group != g->group || (g->size && o->what->opts.size != g->size))
			continue;
		if (g->few_conns && o->what->opts.conns >= o->what->opts.workers)
			continue;
		over = g->measure == GOAL_RATE ? score_rate(m) : (double)m->p99_ns;
		under = g->measure == GOAL_RATE ? score_rate(p) : (double)p->p99_ns;
		if (m->ran && p->ran && !m->error[0] && !p->error[0] && under > 0)
			v[n++] = over / under;
	}
	return n;
}

void report_goals(const struct report *r)
{
	if (!r->enabled[0])
		return;
	printf("\n%-36s %-9s %-10s %7s %7s %7s %6s\n", "mux compared with", "peer", "goal", "least",
	       "median", "most", "cases");
	for (size_t i = 0; i < sizeof(goals) / sizeof(goals[0]); i++) {
		const struct goal *g = &goals[i];
		double v[CASES_MAX], mid;
		unsigned int n = goal_ratios(r, g, v);

		if (!n)
			continue;
		mid = median(v, n);
		printf("%-36s %-9s %s %-7.2f %7.2f %7.2f %7.2f %6u\n", g->text, g->peer->name,
		       g->measure == GOAL_RATE ? ">=" : "<=", g->goal, v[0], mid, v[n - 1], n);
	}
}
