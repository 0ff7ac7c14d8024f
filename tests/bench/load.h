/* SPDX-License-Identifier: GPL-2.0 */
/*
 * load.h - the load generator: a process that keeps its connections over many rounds, so that
 * rounds of several servers can alternate. Every reply is checked.
 */
#ifndef KCM_TESTS_LOAD_H
#define KCM_TESTS_LOAD_H

#include "bench.h"
#include "hist.h"

struct load_round {
	enum bench_mode mode;
	uint64_t rate;	  /* BENCH_OPEN */
	uint32_t warm_ms; /* load without measuring */
	uint32_t measure_ms;
	uint32_t drain_ms; /* replies that take longer than this count as lost */
};

struct load_result {
	uint64_t msgs;		/* replies within the measured time, all of them checked */
	uint64_t duration_ns;	/* the measured time */
	uint64_t server_cpu_ns; /* during the measured time */
	uint64_t client_cpu_ns;
	uint64_t bad;	  /* replies that were wrong */
	uint64_t lost;	  /* requests without a reply */
	uint64_t strayed; /* any_conn: replies of the measured time that came by another one */
	struct hist all;  /* latency in ns */
	struct hist fast; /* BENCH_WORK_SLOW: of the requests that are not slow */
	char error[160];  /* the first thing that went wrong, or "" */
};

struct load;

/* Fork a client that connects to 127.0.0.1:@o->port; NULL with a message on stderr. */
struct load *load_start(const struct bench_opts *o);

/* One round; 0, or -errno if the client died. @res is zeroed first. */
int load_run(struct load *l, const struct load_round *round, struct load_result *res);

/* End the client. */
void load_stop(struct load *l);

/* What the client process runs (load_client.c). Serves rounds from @ctl_fd until it is closed. */
int load_client(const struct bench_opts *o, int ctl_fd, struct load_result *res);

#endif
