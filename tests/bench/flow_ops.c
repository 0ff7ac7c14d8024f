// SPDX-License-Identifier: GPL-2.0
/* flow_ops.c - how long commands take, from fork to exit. */
#include "flow_bench.h"

#include <errno.h>
#include <math.h>
#include <sched.h>
#include <string.h>

/* One command. Return: ms; NAN: it failed. */
static double command_ms(struct fb *b, char *const argv[])
{
	uint64_t ns = 0, bytes;
	int code = sb_command(argv, &bytes, &ns);

	if (!code)
		return (double)ns / 1e6;
	fprintf(stderr, "bench_flow: %s %s %s: exit code %d\n", argv[0], argv[2], argv[3], code);
	b->wrong++;
	return NAN;
}

static void add(struct fb *b, const char *name, __u32 rules, __u32 flows,
		const struct sb_series *ms, double at, double goal)
{
	struct fb_row *row = fb_row(&b->report, name, "", rules, flows);

	row->unit = FB_MS;
	row->ours = sb_quantile(ms, at);
	row->goal_kind = FB_AT_MOST;
	row->goal = goal;
	snprintf(row->note, sizeof(row->note), "of %u: best %.1f, median %.1f, worst %.1f", ms->n,
		 sb_quantile(ms, 0), sb_quantile(ms, 0.5), sb_quantile(ms, 1));
	fb_print(&b->report);
}

/* Two sets that have no policy but the last in common, in turn. */
static int swap(struct fb *b, __u32 rules)
{
	char path[2][FB_DIR + 32];
	struct sb_series ms = { 0 };
	struct fb_side s;
	int err = fb_side(b, &s, "flow");

	err = err ?: fb_flow(b, &s, &(struct fb_flow){ rules, FB_CACHE, .action = NULL });
	for (__u32 i = 0; !err && i < 2; i++) {
		struct fb_text text = { FB_POLICIES, rules, i ? 0 : rules, s.rx, NULL, false };

		snprintf(path[i], sizeof(path[i]), "%s/set%u", b->dir, i);
		err = fb_rules(path[i], &text);
	}
	for (unsigned int i = 0; !err && i < (b->quick ? 8 : 20); i++) {
		char *argv[] = { (char *)b->kcmtool, "flow", "policy", "replace", s.rx, "-f",
				 path[i & 1],	     NULL };

		sb_add(&ms, command_ms(b, argv));
	}
	if (!err)
		add(b, "ms, replace all policies", rules, 0, &ms, 0.5, rules == 100000 ? 400 : 100);
	fb_side_end(b, &s);
	return err;
}

/* Nothing but the time of deletions: the sets are large, so are the commands' inputs. */
static int del(struct fb *b, __u32 rules)
{
	struct sb_series ms = { 0 };
	struct fb_side s;
	int err = fb_side(b, &s, "flow");

	err = err ?: fb_flow(b, &s, &(struct fb_flow){ rules, FB_CACHE, .action = NULL });
	for (unsigned int i = 0; !err && i < (b->quick ? 32 : SB_ROUNDS_MAX); i++) {
		char prio[16];
		char *argv[] = { (char *)b->kcmtool, "flow", "policy", "del", s.rx, prio, NULL };

		snprintf(prio, sizeof(prio), "%u", 1 + i * (rules / SB_ROUNDS_MAX));
		sb_add(&ms, command_ms(b, argv));
	}
	if (!err)
		add(b, "ms, policy del, p99", rules, 0, &ms, 0.99, 20);
	fb_side_end(b, &s);
	return err;
}

static int list(struct fb *b)
{
	struct fb_load load = { FG_ROUND, 65536, false };
	struct sb_series text = { 0 }, json = { 0 };
	struct fb_side s;
	int err = fb_side(b, &s, "flow");

	err = err ?: fb_flow(b, &s, &(struct fb_flow){ 1000, FB_CACHE, .no_bypass = true });
	fb_use(b, &load);
	if (!err)
		fb_live(b, &s, 200 * BENCH_NS_PER_MS);
	for (unsigned int i = 0; !err && i < 20; i++) {
		char *plain[] = { (char *)b->kcmtool, "flow", "list", s.rx, NULL };
		char *as_json[] = { (char *)b->kcmtool, "flow", "list", s.rx, "-j", NULL };

		sb_add(&text, command_ms(b, plain));
		sb_add(&json, command_ms(b, as_json));
	}
	if (!err) {
		add(b, "ms, flow list", 1000, 65536, &text, 0.5, 20);
		add(b, "ms, flow list -j", 1000, 65536, &json, 0.5, 20);
	}
	fb_side_end(b, &s);
	return err;
}

int fb_part_ops(struct fb *b)
{
	cpu_set_t all, one;
	int err;

	/* Commands run where there is room. */
	sched_getaffinity(0, sizeof(one), &one);
	memset(&all, 0xff, sizeof(all));
	sched_setaffinity(0, sizeof(all), &all);
	err = swap(b, 100000);
	err = err ?: swap(b, 1000);
	err = err ?: del(b, 1000);
	err = err ?: del(b, 10000);
	sched_setaffinity(0, sizeof(one), &one);
	return err ?: list(b);
}
