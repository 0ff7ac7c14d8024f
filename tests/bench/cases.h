/* SPDX-License-Identifier: GPL-2.0 */
/*
 * cases.h - the matrix of the mux benchmark.
 */
#ifndef KCM_TESTS_CASES_H
#define KCM_TESTS_CASES_H

#include "bench.h"

enum case_group {
	CASE_PIPELINED, /* messages cost nothing, many in flight */
	CASE_REQREP,	/* messages cost nothing, one in flight per connection */
	CASE_SLOW,	/* 5 % of the requests take 5 ms; few connections, many in flight */
	CASE_BLOCK,	/* every request blocks 1 ms */
	CASE_SLOW_OPEN, /* the same at a fixed rate */
	CASE_BLOCK_OPEN,
	CASE_IDLE, /* connected and silent */
	CASE_GROUPS,
};

struct bench_case {
	char name[48];
	enum case_group group;
	struct bench_opts opts;
};

#define CASES_MAX 128

/* Fill @cases; returns how many. @quick: the short subset. */
unsigned int cases_make(struct bench_case *cases, bool quick);

const char *case_group_about(enum case_group g);

#endif
