/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * flowhist_check.h - what was decided on flows and when, and packets held against it.
 *
 * An event is an operation that changes the verdict on a flow. Between its call and its return
 * either verdict is right; from its return to the call of the next event there is one only, and no
 * packet may end with another one: an operation has waited for those that were under way. All times
 * are of CLOCK_MONOTONIC.
 */
#ifndef KCM_FLOWHIST_CHECK_H
#define KCM_FLOWHIST_CHECK_H

#include <linux/bpf.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "flowhist.h"

#define HIST_SHOWN 5 /* violations that are told of */

struct hist_event {
	uint64_t call_ns, return_ns;
	bool drop;
};

struct hist_events {
	struct hist_event *event[HIST_FLOWS];
	uint32_t n[HIST_FLOWS], room;
	uint64_t horizon_ns; /* all events that were called before are known */
	uint64_t violations, unsure, checked;
};

/* What one CPU has looked at. */
struct hist_cursor {
	uint32_t at[HIST_FLOWS];
	uint64_t of_flow[HIST_FLOWS]; /* packets */
};

static inline uint64_t hist_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static inline bool hist_events_open(struct hist_events *e, uint32_t operations)
{
	*e = (struct hist_events){ .room = operations + 2 };
	for (int i = 0; i < HIST_FLOWS; i++) {
		e->event[i] = calloc(e->room, sizeof(*e->event[i]));
		if (!e->event[i])
			return false;
	}
	return true;
}

static inline void hist_events_close(struct hist_events *e)
{
	for (int i = 0; i < HIST_FLOWS; i++)
		free(e->event[i]);
}

/* An operation has made the verdict on a flow another one; or it is the first. */
static inline void hist_event(struct hist_events *e, int flow, uint64_t call_ns, uint64_t return_ns,
			      bool drop)
{
	uint32_t n = e->n[flow];

	if (n && e->event[flow][n - 1].drop == drop)
		return;
	if (n == e->room) {
		fprintf(stderr, "more events than operations\n");
		abort();
	}
	e->event[flow][n] = (struct hist_event){ call_ns, return_ns, drop };
	__atomic_store_n(&e->n[flow], n + 1, __ATOMIC_RELEASE);
}

static inline void hist_known(struct hist_events *e, uint64_t until_ns)
{
	__atomic_store_n(&e->horizon_ns, until_ns, __ATOMIC_RELEASE);
}

static inline void hist_violation(struct hist_events *e, const struct hist_packet *p,
				  const struct hist_event *last, int cpu)
{
	uint64_t end_ns = p->begin_ns + p->took_ns;

	if (__atomic_add_fetch(&e->violations, 1, __ATOMIC_RELAXED) > HIST_SHOWN)
		return;
	fprintf(stderr,
		"# CPU %d, flow %u: verdict %u, but it is %s since %llu ns; it took %u ns\n", cpu,
		p->flow, p->verdict, last->drop ? "drop" : "pass",
		(unsigned long long)(end_ns - last->return_ns), p->took_ns);
}

static inline void hist_look(struct hist_events *e, struct hist_cursor *c,
			     const struct hist_packet *p, int cpu)
{
	uint64_t end_ns = p->begin_ns + p->took_ns;
	const struct hist_event *event = e->event[p->flow];
	uint32_t n = __atomic_load_n(&e->n[p->flow], __ATOMIC_ACQUIRE), *at = &c->at[p->flow];

	while (*at + 1 < n && event[*at + 1].return_ns < end_ns)
		++*at;
	c->of_flow[p->flow]++;
	__atomic_add_fetch(&e->checked, 1, __ATOMIC_RELAXED);
	if (*at + 1 < n && end_ns >= event[*at + 1].call_ns)
		__atomic_add_fetch(&e->unsure, 1, __ATOMIC_RELAXED);
	else if (p->verdict != (event[*at].drop ? XDP_DROP : XDP_PASS))
		hist_violation(e, p, &event[*at], cpu);
}

/* Those packets of a CPU for which all is known. */
static inline void hist_look_all(struct hist_events *e, struct hist_cursor *c, struct hist_at *at,
				 const struct hist_packet *ring, int cpu)
{
	uint64_t horizon_ns = __atomic_load_n(&e->horizon_ns, __ATOMIC_ACQUIRE);
	uint64_t head = __atomic_load_n(&at->head, __ATOMIC_ACQUIRE), tail = at->tail;

	for (; tail < head; tail++) {
		const struct hist_packet *p = &ring[tail & (HIST_RING - 1)];

		if (p->begin_ns + p->took_ns >= horizon_ns)
			break;
		if (p->flow < HIST_FLOWS)
			hist_look(e, c, p, cpu);
	}
	__atomic_store_n(&at->tail, tail, __ATOMIC_RELEASE);
}

#endif
