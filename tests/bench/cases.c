// SPDX-License-Identifier: GPL-2.0
/*
 * cases.c - the matrix of the mux benchmark.
 */
#include "cases.h"

#include <stdio.h>
#include <string.h>

#define KIB	       1024u
#define FEW_CONNS      4u
#define REPLY_FULL_MAX KIB /* larger messages are answered by 64 bytes */
#define REPLY_SHORT    64u

#define SLOW_PCT   5.0
#define SLOW_NS	   (5 * BENCH_NS_PER_MS)
#define BLOCK_NS   BENCH_NS_PER_MS
#define SEED_DEPTH 64u
/* Share of what the workers could do at best: queues stay short where work is well spread. */
#define OPEN_LOAD 0.4

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

static const char *const group_name[CASE_GROUPS] = {
	[CASE_PIPELINED] = "pipe", [CASE_REQREP] = "reqrep",	   [CASE_SLOW] = "slow",
	[CASE_BLOCK] = "block",	   [CASE_SLOW_OPEN] = "slow-open", [CASE_BLOCK_OPEN] = "block-open",
	[CASE_IDLE] = "idle",
};

static const char *const group_about[CASE_GROUPS] = {
	[CASE_PIPELINED] = "pipelined, messages cost nothing",
	[CASE_REQREP] = "one request in flight per connection",
	[CASE_SLOW] = "5 % of the requests take 5 ms",
	[CASE_BLOCK] = "every request blocks 1 ms",
	[CASE_SLOW_OPEN] = "5 % of the requests take 5 ms, fixed rate",
	[CASE_BLOCK_OPEN] = "every request blocks 1 ms, fixed rate",
	[CASE_IDLE] = "connected and silent",
};

const char *case_group_about(enum case_group g)
{
	return group_about[g];
}

struct list {
	struct bench_case *cases;
	unsigned int nr;
};

/* Enough to batch, little enough to stay in the cache; few connections are pipelined deeper. */
static uint32_t pipeline_depth(uint32_t size, uint32_t conns)
{
	uint32_t depth = size <= 64 ? 32 : size <= KIB ? 16 : size <= 5 * KIB ? 8 : 2;

	return conns <= FEW_CONNS ? depth * 4 : depth;
}

static void add(struct list *l, enum case_group g, uint32_t size, uint32_t conns, uint32_t workers)
{
	struct bench_case *c = &l->cases[l->nr];
	struct bench_opts *o = &c->opts;
	double mean_ns = g == CASE_SLOW_OPEN ? SLOW_PCT / 100 * (double)SLOW_NS : (double)BLOCK_NS;

	if (l->nr == CASES_MAX)
		return;
	l->nr++;
	memset(c, 0, sizeof(*c));
	c->group = g;
	snprintf(c->name, sizeof(c->name), "%s-%u-c%u-w%u", group_name[g], size, conns, workers);
	o->size = size;
	o->reply_size = size <= REPLY_FULL_MAX ? size : REPLY_SHORT;
	o->conns = conns;
	o->workers = workers;
	o->client_threads = conns < 2 ? 1 : 2;
	o->mode = BENCH_CLOSED;
	o->depth = 1;
	if (g == CASE_PIPELINED)
		o->depth = pipeline_depth(size, conns);
	if (g == CASE_SLOW || g == CASE_BLOCK)
		o->depth = SEED_DEPTH;
	if (g == CASE_SLOW || g == CASE_SLOW_OPEN) {
		o->work = BENCH_WORK_SLOW;
		o->work_ns = SLOW_NS;
		o->slow_pct = SLOW_PCT;
	}
	if (g == CASE_BLOCK || g == CASE_BLOCK_OPEN) {
		o->work = BENCH_WORK_BLOCK;
		o->work_ns = BLOCK_NS;
	}
	if (g == CASE_SLOW_OPEN || g == CASE_BLOCK_OPEN) {
		o->mode = BENCH_OPEN;
		o->rate = (uint64_t)(OPEN_LOAD * workers * (double)BENCH_NS_PER_S / mean_ns);
	}
	if (g == CASE_IDLE)
		o->mode = BENCH_IDLE;
}

static void make_quick(struct list *l)
{
	add(l, CASE_PIPELINED, 64, 64, 2);
	add(l, CASE_PIPELINED, 64, 64, 16);
	add(l, CASE_PIPELINED, 5 * KIB, 64, 2);
	add(l, CASE_PIPELINED, 64 * KIB, 4, 4);
	add(l, CASE_REQREP, 64, 64, 4);
	add(l, CASE_SLOW, 64, 4, 16);
	add(l, CASE_BLOCK, 64, 4, 16);
	add(l, CASE_SLOW_OPEN, 64, 8, 4);
	add(l, CASE_IDLE, 64, 64, 2);
}

static void make_full(struct list *l)
{
	static const uint32_t sizes[] = { 64, KIB, 5 * KIB, 64 * KIB };
	static const uint32_t conns[] = { 1, 4, 64, 1000 };
	static const uint32_t workers[] = { 2, 4, 16 };

	for (size_t s = 0; s < LEN(sizes); s++)
		for (size_t c = 0; c < LEN(conns); c++)
			for (size_t w = 0; w < LEN(workers); w++)
				add(l, CASE_PIPELINED, sizes[s], conns[c], workers[w]);
	for (size_t c = 0; c < LEN(conns); c++)
		add(l, CASE_REQREP, 64, conns[c], 4);
	for (size_t w = 0; w < LEN(workers); w++) {
		add(l, CASE_SLOW, 64, 4, workers[w]);
		add(l, CASE_SLOW, 64, 16, workers[w]);
		add(l, CASE_BLOCK, 64, 4, workers[w]);
		add(l, CASE_BLOCK, 64, 16, workers[w]);
	}
	for (size_t w = 1; w < LEN(workers); w++) {
		add(l, CASE_SLOW_OPEN, 64, 8, workers[w]);
		add(l, CASE_BLOCK_OPEN, 64, 8, workers[w]);
	}
	add(l, CASE_IDLE, 64, 1000, 4);
}

unsigned int cases_make(struct bench_case *cases, bool quick)
{
	struct list l = { .cases = cases };

	if (quick)
		make_quick(&l);
	else
		make_full(&l);
	return l.nr;
}
