/* SPDX-License-Identifier: GPL-2.0 */
/*
 * contest.h - one server of a case with a client of its own: started, measured round by round,
 * stopped. Drivers alternate the rounds of several.
 */
#ifndef KCM_TESTS_CONTEST_H
#define KCM_TESTS_CONTEST_H

#include <signal.h>

#include "load.h"
#include "report.h"
#include "server.h"

#define CONTEST_DRAIN_MS 8000u

struct contender {
	const struct bench_server *server;
	struct bench_opts opts;
	struct score *score;
	struct hist all, fast;
	struct load_result last; /* of the last round that was run */
	struct load *load;
	pid_t pid;
};

/* Set by SIGINT and SIGTERM: no round begins any more. */
extern volatile sig_atomic_t contest_stopped;

/* Signals, and as many descriptors as are allowed. */
void contest_init(void);

/* A listener and a process that serves it. Return: 0 or -errno. */
int contest_serve(const struct bench_server *server, struct bench_opts *o, pid_t *pid);
/* Ends it, by force if it does not. */
void contest_unserve(pid_t *pid);

/* What goes wrong is in @c->score->error, and the others go on. */
void contender_start(struct contender *c);
/* @keep: it counts. */
void contender_round(struct contender *c, const struct load_round *round, bool keep);
void contender_stop(struct contender *c);

#endif
