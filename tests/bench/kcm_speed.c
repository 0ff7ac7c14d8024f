// SPDX-License-Identifier: GPL-2.0
/*
 * kcm_speed.c - messages per second and latencies of mux and AF_KCM, round by round in turn.
 */
#include <stdio.h>
#include <string.h>

#include "kcm_bench.h"

#define REPLY_BYTES    64u
#define ROUND_MS       1000u
#define ROUND_QUICK_MS 400u
#define WARM_MS	       200u
#define SLOW_PCT       5.0
#define SLOW_NS	       (50 * BENCH_NS_PER_MS) /* long even where CPUs are emulated */
#define SLOW_WORKERS   4u
#define SLOW_RATE      480u /* a second: slow ones keep three of ten workers busy */

/* Of the project: at least so much of AF_KCM's rate, and a shorter p99. */
#define GOAL_SMALL 3.0
#define GOAL_LARGE 1.5
#define GOAL_P99   1.0

struct kb_case {
	const char *name;
	uint32_t size, depth, workers;
	enum bench_mode mode;
	uint32_t rate;
	enum bench_work_kind work;
	double goal; /* 0: none */
};

/* What one peer is compared by: rows of the report. */
struct kb_rows {
	struct sb_row *rate, *p50, *p99, *fast_p99;
};

struct kb_run {
	const struct kb_case *what;
	struct contender side[KB_SIDES];
	struct score score[KB_SIDES];
	struct kb_rows rows[KB_SIDES]; /* [0] is not used */
	uint64_t msgs[KB_SIDES], strayed[KB_SIDES];
};

static struct bench_opts case_opts(const struct kb_case *c)
{
	return (struct bench_opts){
		.size = c->size,
		.reply_size = REPLY_BYTES,
		.conns = KB_CONNS,
		.depth = c->depth,
		.workers = c->workers,
		.mode = c->mode,
		.rate = c->rate,
		.work = c->work,
		.work_ns = SLOW_NS,
		.slow_pct = SLOW_PCT,
		/* AF_KCM's replies come by any connection, and a thread has some of them only. */
		.client_threads = 1,
		.any_conn = true,
	};
}

static struct sb_row *row(const struct sb_opts *o, const struct kb_case *c, const char *part,
			  const char *what, unsigned int peer, const char *side_unit)
{
	char text[48];
	struct sb_row *r;

	snprintf(text, sizeof(text), "%s%s", c->name, what);
	r = sb_row(o->report, part, text, kb_side[peer]->name, "x");
	snprintf(r->side_unit, sizeof(r->side_unit), "%s", side_unit);
	return r;
}

static void make_rows(struct kb_run *run, const struct sb_opts *o, const char *part, bool latency)
{
	const struct kb_case *c = run->what;

	for (unsigned int p = 1; p < KB_SIDES; p++) {
		struct kb_rows *r = &run->rows[p];

		*r = (struct kb_rows){ .rate = row(o, c, part, ": msg/s", p, "k") };
		if (c->goal > 0)
			sb_goal(r->rate, SB_AT_LEAST, c->goal);
		if (!latency)
			continue;
		r->p50 = row(o, c, part, ": p50", p, "us");
		r->p99 = row(o, c, part, ": p99", p, "us");
		if (c->work != BENCH_WORK_SLOW)
			continue;
		r->fast_p99 = row(o, c, part, ": p99 of the fast", p, "us");
		sb_goal(r->p99, SB_AT_MOST, GOAL_P99);
		sb_goal(r->fast_p99, SB_AT_MOST, GOAL_P99);
	}
}

static void add_pair(struct sb_row *r, double ours, double theirs, double scale)
{
	if (!r || !(theirs > 0))
		return;
	sb_add(&r->figure, ours / theirs);
	sb_add(&r->ours, ours / scale);
	sb_add(&r->theirs, theirs / scale);
}

/* All sides ran a round: what they measured is compared with what mux did in the same one. */
static void round_compare(struct kb_run *run)
{
	const struct load_result *us = &run->side[0].last;

	for (unsigned int p = 1; p < KB_SIDES; p++) {
		const struct load_result *it = &run->side[p].last;
		const struct kb_rows *r = &run->rows[p];

		if (run->score[0].error[0] || run->score[p].error[0])
			continue;
		add_pair(r->rate, (double)us->msgs / (double)us->duration_ns,
			 (double)it->msgs / (double)it->duration_ns, 1e3 / BENCH_NS_PER_S);
		add_pair(r->p50, (double)hist_quantile(&us->all, 0.5),
			 (double)hist_quantile(&it->all, 0.5), 1e3);
		add_pair(r->p99, (double)hist_quantile(&us->all, 0.99),
			 (double)hist_quantile(&it->all, 0.99), 1e3);
		add_pair(r->fast_p99, (double)hist_quantile(&us->fast, 0.99),
			 (double)hist_quantile(&it->fast, 0.99), 1e3);
	}
}

static double share_pct(uint64_t part, uint64_t all)
{
	return all ? 100.0 * (double)part / (double)all : 0;
}

/* Return: how many sides failed. */
static int notes(struct kb_run *run)
{
	int failed = 0;

	for (unsigned int i = 0; i < KB_SIDES; i++) {
		struct score *s = &run->score[i];

		/* mux knows who asked. */
		if (!i && !s->error[0] && run->strayed[0])
			snprintf(s->error, sizeof(s->error), "%llu replies by the wrong connection",
				 (unsigned long long)run->strayed[0]);
		failed += s->error[0] != '\0';
	}
	for (unsigned int p = 1; p < KB_SIDES; p++) {
		const struct score *us = &run->score[0], *it = &run->score[p];
		struct sb_row *r = run->rows[p].rate;
		const struct score *wrong = us->error[0] ? us : it->error[0] ? it : NULL;

		if (wrong)
			snprintf(r->note, sizeof(r->note), "%s failed: %.80s",
				 wrong == us ? "mux" : "AF_KCM", wrong->error);
		else
			snprintf(r->note, sizeof(r->note),
				 "CPU us a message %.3g / %.3g; AF_KCM's replies by another "
				 "connection: %.0f %%",
				 score_cpu_ns(us) / 1e3, score_cpu_ns(it) / 1e3,
				 share_pct(run->strayed[p], run->msgs[p]));
	}
	return failed;
}

static int run_case(const struct sb_opts *o, const struct kb_case *c, const char *part,
		    bool latency)
{
	static struct kb_run run;
	struct load_round round = { .mode = c->mode,
				    .rate = c->rate,
				    .warm_ms = WARM_MS,
				    .measure_ms = o->quick ? ROUND_QUICK_MS : ROUND_MS,
				    .drain_ms = CONTEST_DRAIN_MS };
	unsigned int from = o->report->n;
	int failed;

	memset(&run, 0, sizeof(run));
	run.what = c;
	make_rows(&run, o, part, latency);
	for (unsigned int i = 0; i < KB_SIDES; i++) {
		run.side[i] = (struct contender){ .server = kb_side[i],
						  .opts = case_opts(c),
						  .score = &run.score[i] };
		contender_start(&run.side[i]);
	}
	/* There and back again: nobody is always the one after the warmest, or the last. */
	for (unsigned int k = 0; k < o->rounds && !contest_stopped; k++) {
		for (unsigned int i = 0; i < KB_SIDES; i++) {
			unsigned int at = k % 2 ? KB_SIDES - 1 - i : i;

			contender_round(&run.side[at], &round, true);
			run.strayed[at] += run.side[at].last.strayed;
			run.msgs[at] += run.side[at].last.msgs;
		}
		if (!contest_stopped)
			round_compare(&run);
	}
	for (unsigned int i = 0; i < KB_SIDES; i++)
		contender_stop(&run.side[i]);
	failed = notes(&run) || contest_stopped;
	sb_print(o->report, from);
	return failed;
}

int kb_speed(const struct sb_opts *o)
{
	static const struct kb_case cases[] = {
		{ "64 B, 2 workers", 64, 32, 2, BENCH_CLOSED, 0, BENCH_WORK_NONE, GOAL_SMALL },
		{ "64 B, 4 workers", 64, 32, 4, BENCH_CLOSED, 0, BENCH_WORK_NONE, GOAL_SMALL },
		{ "5 KiB, 2 workers", 5120, 8, 2, BENCH_CLOSED, 0, BENCH_WORK_NONE, GOAL_LARGE },
		{ "5 KiB, 4 workers", 5120, 8, 4, BENCH_CLOSED, 0, BENCH_WORK_NONE, GOAL_LARGE },
	};
	int failed = 0;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		failed |= run_case(o, &cases[i], "replies", false);
	return failed;
}

int kb_latency(const struct sb_opts *o)
{
	static const struct kb_case cases[] = {
		{ "all fast", 64, 1, SLOW_WORKERS, BENCH_CLOSED, 0, BENCH_WORK_NONE, 0 },
		{ "5 % slow", 64, 1, SLOW_WORKERS, BENCH_CLOSED, 0, BENCH_WORK_SLOW, 0 },
		{ "5 % slow, fixed rate", 64, 1, SLOW_WORKERS, BENCH_OPEN, SLOW_RATE,
		  BENCH_WORK_SLOW, 0 },
	};
	int failed = 0;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		failed |= run_case(o, &cases[i], "latency", true);
	return failed;
}
