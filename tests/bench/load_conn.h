/* SPDX-License-Identifier: GPL-2.0 */
/*
 * load_conn.h - one connection of the load generator: messages in flight, sending, checking.
 */
#ifndef KCM_TESTS_LOAD_CONN_H
#define KCM_TESTS_LOAD_CONN_H

#include "bench.h"
#include "hist.h"
#include "msg.h"

enum load_phase {
	LOAD_WARM,
	LOAD_MEASURE,
	LOAD_DRAIN,
};

struct lslot {
	uint64_t due_ns; /* latency counts from here */
	struct bench_msg hdr;
	bool busy;
};

struct lconn {
	int fd;
	uint32_t id;
	uint32_t seq; /* of the next message */
	uint32_t cap; /* slots: most messages in flight */
	uint32_t nr_free;
	uint32_t *free; /* stack of idle slots */
	struct lslot *slot;
	uint32_t *fifo; /* issued, not sent in full: ring of cap slot numbers */
	uint32_t fifo_head, fifo_len;
	uint32_t sent; /* bytes of the message at the head already sent */
	uint8_t *part; /* a reply of which the rest is missing */
	uint32_t part_len;
};

/* What one thread of the client needs to serve its connections. */
struct lthread {
	const struct bench_opts *opts;
	const _Atomic uint32_t *phase;
	_Atomic uint64_t msgs; /* good replies, since ever */
	uint64_t bad;
	uint64_t in_flight;
	struct lconn *all_conns; /* any_conn: a reply says whose it is */
	uint64_t strayed;
	bool dead; /* a connection broke: the round is void */
	char error[160];
	struct hist *all, *fast;
	uint8_t *rx, *tx;
};

int lthread_init(struct lthread *t, const struct bench_opts *o, const _Atomic uint32_t *phase);
/* Forget what the last round counted. */
void lthread_reset(struct lthread *t);

int lconn_init(struct lconn *c, const struct bench_opts *o, int fd, uint32_t id);

/* Queue one more message, due at @due_ns; false if as many as allowed are in flight. */
bool lconn_issue(struct lconn *c, uint64_t due_ns);

/* Send what is queued as far as the socket takes it. */
void lconn_send(struct lthread *t, struct lconn *c);

/* Closed loop: queue as many messages as are allowed and send them, unless draining. */
void lconn_refill(struct lthread *t, struct lconn *c);

/* Take and check all replies there are. */
void lconn_receive(struct lthread *t, struct lconn *c);

#endif
