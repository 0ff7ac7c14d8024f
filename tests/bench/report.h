/* SPDX-License-Identifier: GPL-2.0 */
/*
 * report.h - what was measured, and its table, JSON, plot and summary.
 */
#ifndef KCM_TESTS_REPORT_H
#define KCM_TESTS_REPORT_H

#include "cases.h"
#include "hist.h"
#include "load.h"
#include "server.h"

#define ROUNDS_MAX  32
#define SERVERS_MAX 4

/* One server in one case: all its rounds. */
struct score {
	bool ran;
	char error[160]; /* why there are no figures, or "" */
	uint32_t rounds;
	double rate[ROUNDS_MAX]; /* messages per second of each round */
	uint64_t msgs, duration_ns, server_cpu_ns, client_cpu_ns;
	uint64_t bad, lost;
	uint64_t p50_ns, p99_ns, fast_p99_ns; /* over all rounds */
};

struct outcome {
	const struct bench_case *what;
	struct score score[SERVERS_MAX]; /* indexed as the list of servers */
};

struct report {
	const struct bench_server *server[SERVERS_MAX]; /* [0] is mux */
	bool enabled[SERVERS_MAX];
	unsigned int nr_servers;
	struct outcome outcome[CASES_MAX];
	unsigned int nr_outcomes;
};

/* Median of the rounds' messages per second. */
double score_rate(const struct score *s);
/* CPU of server and client together, per message. */
double score_cpu_ns(const struct score *s);

void report_head(const struct report *r);
void report_case(const struct report *r, const struct outcome *o);
/* How the figures compare with the goals of the project; judges nothing. */
void report_goals(const struct report *r);

/* 0 or -errno. */
int report_json(const struct report *r, const char *path);
/* Draws @dir/mux.png with gnuplot; without gnuplot it says so and returns 0. */
int report_plot(const struct report *r, const char *dir);

#endif
