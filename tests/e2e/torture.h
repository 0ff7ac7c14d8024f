/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* torture.h - what the clients, the workers and the server of mux_torture share. */
#ifndef TORTURE_H
#define TORTURE_H

#include "mux_kit.h"

struct head {
	uint32_t len; /* network order, bytes behind it */
	uint32_t conn;
	uint32_t num;
	uint32_t reply;
};

static struct {
	unsigned int conns, workers, msgs, min, max, seg, depth, reply, pause_ms, batch, leave;
	uint64_t seed, arena;
	enum kcm_dispatch policy;
	bool strp, threads, v6, churn, kill, early, alo, half;
} opt = {
	.conns = 8, .workers = 4, .msgs = 1000, .max = 8192, .seg = 65536, .depth = 64, .reply = 256
};

struct shared {
	uint64_t served, bad, order_bad, events, redelivered;
	uint32_t last[65536]; /* per connection: last number a worker has seen, if in order */
	volatile int pause;
};
static struct shared *sh;

#endif
