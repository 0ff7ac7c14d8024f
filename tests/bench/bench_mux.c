// SPDX-License-Identifier: GPL-2.0
/*
 * bench_mux.c - driver of the mux benchmark. See README.md here for what it measures and how.
 *
 * Built from all tests/bench/[!b]*.c together with this file.
 *
 * For each case all servers and one client per server are started; then short rounds alternate
 * between them, so that whatever else the machine does meets all of them alike.
 */
#include "bench.h"

#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

#include "cases.h"
#include "contest.h"
#include "mux_args.h"

static void run_case(const struct settings *set, const struct report *r, struct outcome *o)
{
	static struct contender c[SERVERS_MAX];
	struct load_round round = { .mode = o->what->opts.mode,
				    .rate = o->what->opts.rate,
				    .warm_ms = set->warm_ms,
				    .measure_ms = set->round_ms,
				    .drain_ms = CONTEST_DRAIN_MS };
	unsigned int n = 0;

	for (unsigned int i = 0; i < r->nr_servers; i++) {
		if (!r->enabled[i])
			continue;
		c[n] = (struct contender){ .server = r->server[i],
					   .opts = o->what->opts,
					   .score = &o->score[i] };
		c[n].opts.threads = set->threads;
		c[n].opts.arena_mib = set->arena_mib;
		contender_start(&c[n++]);
	}
	/* There and back again: nobody is always the one after the warmest, or the last. */
	for (unsigned int k = 0; k < set->rounds; k++)
		for (unsigned int i = 0; i < n; i++)
			contender_round(&c[k % 2 ? n - 1 - i : i], &round, true);
	for (unsigned int i = 0; i < n; i++)
		contender_stop(&c[i]);
}

/* 0 if every reply was right and every request answered. */
static int run_all(const struct settings *set, struct report *r)
{
	static struct bench_case cases[CASES_MAX];
	unsigned int n = cases_make(cases, set->quick), failed = 0;

	for (unsigned int i = 0; i < n && !contest_stopped; i++) {
		struct outcome *o = &r->outcome[r->nr_outcomes];

		if (set->pattern && fnmatch(set->pattern, cases[i].name, 0))
			continue;
		if (set->list) {
			printf("%s\n", cases[i].name);
			continue;
		}
		o->what = &cases[i];
		run_case(set, r, o);
		if (contest_stopped)
			break;
		r->nr_outcomes++;
		report_case(r, o);
		for (unsigned int s = 0; s < r->nr_servers; s++)
			failed += o->score[s].error[0] != '\0';
	}
	if (contest_stopped)
		fprintf(stderr, "bench_mux: interrupted\n");
	return contest_stopped || failed ? -1 : 0;
}

static bool name_in(const char *names, const char *name)
{
	size_t len = strlen(name);

	for (const char *p = names; p; p = strchr(p, ',')) {
		p += *p == ',';
		if (!strncmp(p, name, len) && (!p[len] || p[len] == ','))
			return true;
	}
	return !names;
}

/* How many take part. */
static unsigned int choose_servers(struct report *r, const char *names)
{
	static const struct bench_server *const all[SERVERS_MAX] = {
		&bench_server_mux, &bench_peer_pinned, &bench_peer_oneshot, &bench_peer_queue
	};
	unsigned int n = 0;

	r->nr_servers = SERVERS_MAX;
	for (unsigned int i = 0; i < SERVERS_MAX; i++) {
		r->server[i] = all[i];
		r->enabled[i] = name_in(names, all[i]->name);
		n += r->enabled[i];
	}
	return n;
}

int main(int argc, char **argv)
{
	static struct report r;
	struct settings set = { .dir = "build/bench", .rounds = 3, .warm_ms = 100 };
	const char *servers = NULL;
	char path[4096];
	int err = settings_parse(argc, argv, &set, &servers);

	if (err)
		return err;
	if (!choose_servers(&r, servers)) {
		fprintf(stderr, "bench_mux: no server is called '%s'\n", servers);
		return EXIT_USAGE;
	}
	contest_init();
	if (!set.list)
		report_head(&r);
	err = run_all(&set, &r);
	if (set.list)
		return 0;
	report_goals(&r);
	snprintf(path, sizeof(path), "%s/mux.json", set.dir);
	if (report_json(&r, path) || report_plot(&r, set.dir)) {
		fprintf(stderr, "bench_mux: cannot write to %s; try: mkdir -p %s\n", set.dir,
			set.dir);
		return EXIT_FAILED;
	}
	return err ? EXIT_FAILED : 0;
}
