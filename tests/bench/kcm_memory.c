// SPDX-License-Identifier: GPL-2.0
/*
 * kcm_memory.c - what the machine holds when clients send and no worker receives: until nothing is
 * taken any more, and how much that was.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "kcm_bench.h"
#include "msg.h"

#define WORKERS	    2u
#define STOP_NS	    (3600 * BENCH_NS_PER_S) /* of the one message that a worker has in hand */
#define BURST_BYTES (64u << 10)		    /* a send() */
#define STILL_NS    BENCH_NS_PER_S	    /* no byte taken for so long: it stands */
#define SETTLE_NS   (30 * BENCH_NS_PER_S)   /* for the memory of the last round to come back */
#define MIB	    (1024.0 * 1024)
#define PAGE_KIB    4
#define ROUNDS_MOST 3u

struct usage {
	double all, slab, tcp; /* bytes */
};

/* Pages that TCP has, by its own account; -1 if it can't be told. */
static long tcp_pages(void)
{
	FILE *f = fopen("/proc/net/sockstat", "re");
	char line[256];
	long pages = -1;

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, "TCP:", 4))
			sscanf(strstr(line, " mem "), " mem %ld", &pages);
	if (f)
		fclose(f);
	return pages;
}

/* All that is not free and not a copy of a file. */
static struct usage usage_now(void)
{
	long kib = sb_meminfo_kib("MemTotal") - sb_meminfo_kib("MemFree") -
		   sb_meminfo_kib("Buffers") - sb_meminfo_kib("Cached") + sb_meminfo_kib("Shmem");

	return (struct usage){ .all = (double)kib * 1024,
			       .slab = (double)sb_meminfo_kib("Slab") * 1024,
			       .tcp = (double)tcp_pages() * PAGE_KIB * 1024 };
}

/* Send on all connections until nobody takes anything. */
static int flood_run(struct kb_flood *f)
{
	uint64_t last = bench_now_ns();

	while (bench_now_ns() - last < STILL_NS && !contest_stopped) {
		bool any = false;

		for (uint32_t i = 0; i < KB_CONNS; i++) {
			ssize_t n = kb_flood_send(f);

			if (n < 0)
				return (int)n;
			any |= n > 0;
		}
		if (any)
			last = bench_now_ns();
		else
			bench_sleep_ns(BENCH_NS_PER_MS);
	}
	return 0;
}

/* Sockets of the last round are gone when TCP has no pages any more. */
static void settle(void)
{
	uint64_t until = bench_now_ns() + SETTLE_NS;

	while (tcp_pages() > 1 && bench_now_ns() < until)
		bench_sleep_ns(10 * BENCH_NS_PER_MS);
}

static int overload(const struct bench_server *server, uint32_t size, struct usage *grown,
		    double *sent)
{
	struct bench_opts o = { .size = size,
				.reply_size = BENCH_MIN_SIZE,
				.conns = KB_CONNS,
				.workers = WORKERS,
				.work = BENCH_WORK_BLOCK,
				.work_ns = STOP_NS,
				.shared = kb_shared() };
	struct kb_flood f = { 0 };
	struct usage before, after;
	pid_t pid = 0;
	int err;

	if (!o.shared)
		return -ENOMEM;
	settle();
	before = usage_now();
	err = contest_serve(server, &o, &pid);
	if (!err)
		err = kb_flood_open(&f, &o, BURST_BYTES / size);
	if (!err)
		err = flood_run(&f);
	after = usage_now();
	contest_unserve(&pid);
	*sent = (double)kb_flood_bytes(&f);
	kb_flood_close(&f);
	*grown = (struct usage){ after.all - before.all, after.slab - before.slab,
				 after.tcp - before.tcp };
	munmap(o.shared, sizeof(*o.shared));
	return err;
}

static struct sb_row *held_row(const struct sb_opts *o, const char *size, const char *what,
			       unsigned int peer, const char *side_unit)
{
	char text[48];
	struct sb_row *r;

	snprintf(text, sizeof(text), "%s: %s", size, what);
	r = sb_row(o->report, "memory", text, kb_side[peer]->name, "x");
	snprintf(r->side_unit, sizeof(r->side_unit), "%s", side_unit);
	return r;
}

/* Of one side: what it held, and what clients could send, in each round. */
struct held {
	struct usage grown;
	double sent;
	int err;
};

static void memory_add(struct sb_row *r, double ours, double theirs)
{
	if (!(ours > 0))
		return;
	sb_add(&r->figure, theirs / ours);
	sb_add(&r->ours, ours);
	sb_add(&r->theirs, theirs);
}

static int memory_of(const struct sb_opts *o, const char *text, uint32_t size)
{
	struct sb_row *all[KB_SIDES], *sent[KB_SIDES], *per_byte[KB_SIDES];
	unsigned int from = o->report->n;
	int failed = 0;

	for (unsigned int p = 1; p < KB_SIDES; p++) {
		all[p] = held_row(o, text, "held", p, "MB");
		sent[p] = held_row(o, text, "taken from clients", p, "MB");
		per_byte[p] = held_row(o, text, "held per byte taken", p, "B");
	}
	for (unsigned int k = 0; k < o->rounds && k < ROUNDS_MOST && !contest_stopped; k++) {
		struct held h[KB_SIDES];

		for (unsigned int i = 0; i < KB_SIDES; i++) {
			unsigned int at = k % 2 ? KB_SIDES - 1 - i : i;

			h[at].err = overload(kb_side[at], size, &h[at].grown, &h[at].sent);
		}
		for (unsigned int p = 1; p < KB_SIDES; p++) {
			int err = h[0].err ? h[0].err : h[p].err;

			if (err) {
				failed = 1;
				snprintf(all[p]->note, sizeof(all[p]->note), "failed: %s",
					 strerror(-err));
				continue;
			}
			memory_add(all[p], h[0].grown.all / MIB, h[p].grown.all / MIB);
			memory_add(sent[p], h[0].sent / MIB, h[p].sent / MIB);
			memory_add(per_byte[p], h[0].grown.all / h[0].sent,
				   h[p].grown.all / h[p].sent);
			snprintf(all[p]->note, sizeof(all[p]->note),
				 "MB, last round: TCP %.0f / %.0f, slab %.0f / %.0f",
				 h[0].grown.tcp / MIB, h[p].grown.tcp / MIB, h[0].grown.slab / MIB,
				 h[p].grown.slab / MIB);
		}
	}
	sb_print(o->report, from);
	return failed;
}

int kb_memory(const struct sb_opts *o)
{
	int failed = memory_of(o, "64 B", 64);

	return memory_of(o, "5 KiB", 5120) | failed;
}
