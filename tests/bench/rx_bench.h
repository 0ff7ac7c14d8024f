/* SPDX-License-Identifier: GPL-2.0 */
/*
 * rx_bench.h - what the parts of the rx benchmark share: a case, a reader, what it measured.
 */
#ifndef KCM_TESTS_RX_BENCH_H
#define KCM_TESTS_RX_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sock_bench.h"

#define RXB_HEAD    64U
#define RXB_FRAME   "len off=0 width=4 be hdr=64 max=65M"
#define RXB_THREADS 4
#define RXB_POOL    64U /* pipes of RXB_PIPE bytes: more than the caches hold */
#define RXB_PIPE    (1U << 20)

/* Where the sender's bytes come from. */
enum rxb_source {
	RXB_PAGES, /* tee() and splice(): no copy on the way, new pages each time, header apart */
	RXB_ZEROCOPY, /* MSG_ZEROCOPY, which loopback turns into a copy; header apart */
	RXB_SEND,     /* send(): never whole pages */
	RXB_STREAM,   /* MSG_ZEROCOPY without headers: as programs that know nothing of rx */
	RXB_SOURCES,
};

struct rxb_case {
	enum rxb_source source;
	size_t payload;
	unsigned int threads;
	bool touch;
	int mss;       /* TCP_MAXSEG of the listener, 0: the kernel's */
	uint16_t port; /* 0: any */
};

struct rxb_result {
	uint64_t bytes, messages;
	uint64_t mapped, one_piece; /* where the reader knows */
	uint64_t calls, sleeps, cpu_ns, wall_ns, flushes;
	bool wrong;
};

struct rxb_reader {
	const char *name, *about;
	/* Until the end of the stream. 0 or -errno */
	int (*run)(int fd, const struct rxb_case *c, struct rxb_result *r);
	bool maps;
};

extern const struct rxb_reader rxb_readers[];
const struct rxb_reader *rxb_reader(const char *name);

/* Of each connection so many bytes. Returns in the child's place: never. */
void rxb_send(int fd, const struct rxb_case *c, uint64_t total);
const char *rxb_source_name(enum rxb_source s);

/* One round of one reader. */
int rxb_round(const struct rxb_reader *reader, const struct rxb_case *c, uint64_t total,
	      struct rxb_result *r);

/* ---- parts ---- */
int rxb_sizes(const struct sb_opts *o);
int rxb_threads(const struct sb_opts *o);
int rxb_tune(const struct sb_opts *o);

/* Reads all of it. */
uint64_t rxb_touch(const void *p, size_t n);

#endif
