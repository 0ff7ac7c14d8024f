// SPDX-License-Identifier: GPL-2.0
/* rx_parts.c - cases of the rx benchmark, and what is compared in them. */
#include "rx_bench.h"

#include <errno.h>
#include <math.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MSS	  4108 /* a page, and TCP's timestamps */
#define READERS	  12
#define TUNE_PORT 7999

struct measured {
	struct sb_series cpu, rate, calls, sleeps, mapped, one, ipis; /* calls, IPIs: a GB */
	double last_cpu, last_rate, last_calls, last_ipis;
	bool ran;
};

/* Interrupts that make other CPUs forget translations, since boot. */
static double tlb_ipis(void)
{
	FILE *f = fopen("/proc/interrupts", "re");
	char line[4096];
	double sum = 0;

	while (f && fgets(line, sizeof(line), f)) {
		char *at = strstr(line, "TLB:"), *end;
		double v;

		if (!at)
			continue;
		for (at += 4;; at = end) {
			v = strtod(at, &end);
			if (end == at)
				break;
			sum += v;
		}
	}
	if (f)
		fclose(f);
	return sum;
}

static int measure(const struct rxb_reader *reader, const struct rxb_case *c, uint64_t total,
		   struct measured *m)
{
	double ipis = tlb_ipis(), gb;
	struct rxb_result r;
	int err;

	err = rxb_round(reader, c, total, &r);
	if (err)
		return err;
	if (r.wrong) {
		fprintf(stderr, "bench_rx: %s received something else than was sent\n",
			reader->name);
		return -EIO;
	}
	gb = (double)r.bytes / 1e9;
	m->ran = true;
	sb_add(&m->cpu, m->last_cpu = (double)r.cpu_ns / 1e9 / gb);
	sb_add(&m->rate, m->last_rate = gb / ((double)r.wall_ns / 1e9));
	sb_add(&m->calls, m->last_calls = (double)r.calls / gb);
	sb_add(&m->ipis, m->last_ipis = (tlb_ipis() - ipis) / gb);
	sb_add(&m->mapped, 100.0 * (double)r.mapped / (double)r.bytes);
	if (r.messages) {
		sb_add(&m->sleeps, (double)r.sleeps / (double)r.messages);
		sb_add(&m->one, 100.0 * (double)r.one_piece / (double)r.messages);
	}
	return 0;
}

static void case_name(const struct rxb_case *c, char *to, size_t n)
{
	const char *unit = c->payload >= 1 << 20 ? "MiB" : "KiB";

	snprintf(to, n, "%s%s %zu %s%s%s", rxb_source_name(c->source),
		 c->source == RXB_PAGES && !c->mss ? " misaligned" : "",
		 c->payload >> (c->payload >= 1 << 20 ? 20 : 10), unit, c->threads > 1 ? " x" : "",
		 c->threads == 2   ? "2"
		 : c->threads == 4 ? "4"
				   : "");
	if (c->touch)
		strncat(to, " read", n - strlen(to) - 1);
}

static void note(struct sb_row *row, const struct measured *m)
{
	snprintf(row->note, sizeof(row->note), "%.2f GB/s, mapped %.1f%%, %.0f calls/GB",
		 sb_quantile(&m->rate, 0.5), sb_quantile(&m->mapped, 0.5),
		 sb_quantile(&m->calls, 0.5));
}

/* One figure of rx alone. */
static void fact(struct sb_report *r, const char *what, const char *of, const char *unit,
		 const struct sb_series *s, enum sb_goal kind, double goal)
{
	struct sb_row *row = sb_row(r, "rx", what, of, unit);

	row->figure = *s;
	sb_goal(row, kind, goal);
}

static bool wanted(const struct rxb_reader *reader, const struct rxb_case *c)
{
	/* What touches nothing has no place where all is read. */
	if (c->touch && (!strcmp(reader->name, "trunc") || !strcmp(reader->name, "splice")))
		return false;
	return c->source != RXB_STREAM || strncmp(reader->name, "rx", 2);
}

struct ratios {
	struct sb_series cpu[READERS], rate[READERS];
};

static bool plain_recv(const struct rxb_reader *r)
{
	return !strncmp(r->name, "recv-", 5);
}

/* Of one round, rx against each. */
static void compare(const struct measured *m, struct ratios *q)
{
	for (int i = 1; rxb_readers[i].name; i++) {
		if (!m[i].ran)
			continue;
		sb_add(&q->cpu[i], m[i].last_cpu / m[0].last_cpu);
		sb_add(&q->rate[i], m[0].last_rate / m[i].last_rate);
	}
}

/*
 * The plain reader that used least, or was fastest, over all rounds; also one that reads into less
 * memory than a message, which has a smaller part of the caches to walk through.
 */
static int best(const struct measured *m, bool rate)
{
	int at = 0;

	for (int i = 1; rxb_readers[i].name; i++) {
		double v = sb_quantile(rate ? &m[i].rate : &m[i].cpu, 0.5),
		       top = sb_quantile(rate ? &m[at].rate : &m[at].cpu, 0.5);

		if (m[i].ran && plain_recv(&rxb_readers[i]) && (!at || (rate ? v > top : v < top)))
			at = i;
	}
	return at;
}

static int rounds(const struct sb_opts *o, const struct rxb_case *c, uint64_t total,
		  struct measured *m, struct ratios *q)
{
	for (unsigned int round = 0; round < o->rounds; round++) {
		int n = 0;

		while (rxb_readers[n].name)
			n++;
		for (int k = 0; k < n; k++) {
			/* There and back, so that what changes slowly meets all alike. */
			int i = round % 2 ? n - 1 - k : k, err;

			if (!wanted(&rxb_readers[i], c))
				continue;
			err = measure(&rxb_readers[i], c, total, &m[i]);
			if (err && !round)
				printf("Note: %s: %s\n", rxb_readers[i].name, strerror(-err));
			if (err && !i)
				return err;
		}
		compare(m, q);
	}
	return 0;
}

static void rows(const struct sb_opts *o, const struct rxb_case *c, const struct measured *m,
		 const struct ratios *q)
{
	struct sb_report *r = o->report;
	char name[48];
	unsigned int from = r->n;
	struct sb_row *row;

	case_name(c, name, sizeof(name));
	for (int i = 1; rxb_readers[i].name; i++) {
		if (!m[i].ran)
			continue;
		row = sb_row(r, "cpu", name, rxb_readers[i].name, "x");
		row->figure = q->cpu[i];
		row->ours = m[0].cpu;
		row->theirs = m[i].cpu;
		snprintf(row->side_unit, sizeof(row->side_unit), "s/GB");
		note(row, &m[i]);
		/* In the way of the selftest, where it can map: as good, and messages. */
		if (!strcmp(rxb_readers[i].name, "tcp_mmap") && c->mss && c->payload >= 1 << 20 &&
		    c->threads == 1 && !c->touch)
			sb_goal(row, SB_AT_LEAST, 0.95);
	}
	row = sb_row(r, "cpu", name, "the best recv", "x");
	row->figure = q->cpu[best(m, false)];
	sb_goal(row, SB_AT_LEAST,
		!c->mss || c->payload != 1 << 20 || c->touch || c->source != RXB_PAGES ? 0.97
		: c->threads == 1						       ? 2.5
		: c->threads == 2						       ? 2
										       : 0.97);
	note(row, &m[0]);
	row = sb_row(r, "rate", name, "the best recv", "x");
	/* The senders' CPU, and whoever else works here, are in it. */
	row->figure = q->rate[best(m, true)];
	sb_goal(row, SB_AT_LEAST, 0.97);
	sb_print(r, from);
}

static int run_case(const struct sb_opts *o, const struct rxb_case *c, struct measured *m,
		    struct ratios *q)
{
	/* Enough for the first comparison of rx to be behind it. */
	uint64_t total = 1ULL << 30;
	int err;

	/* Short messages take long: enough of them anyway. */
	if (c->payload < 65536)
		total /= 4;
	err = rounds(o, c, total, m, q);
	if (!err)
		rows(o, c, m, q);
	return err;
}

int rxb_sizes(const struct sb_opts *o)
{
	static const struct rxb_case cases[] = {
		{ RXB_PAGES, 1 << 20, 1, false, MSS, 0 },
		{ RXB_PAGES, 1 << 20, 1, true, MSS, 0 },
		{ RXB_PAGES, 4 << 20, 1, false, MSS, 0 },
		{ RXB_PAGES, 16 << 20, 1, false, MSS, 0 },
		{ RXB_PAGES, 256 << 10, 1, false, MSS, 0 },
		{ RXB_PAGES, 64 << 10, 1, false, MSS, 0 },
		{ RXB_PAGES, 4 << 10, 1, false, MSS, 0 },
		{ RXB_PAGES, 1 << 20, 1, false, 0, 0 },
		{ RXB_ZEROCOPY, 1 << 20, 1, false, MSS, 0 },
		{ RXB_SEND, 16 << 20, 1, false, 0, 0 },
		{ RXB_SEND, 1 << 20, 1, false, 0, 0 },
		{ RXB_SEND, 64 << 10, 1, false, 0, 0 },
		{ RXB_SEND, 4 << 10, 1, false, 0, 0 },
		{ RXB_SEND, 4 << 10, 1, true, 0, 0 },
	};
	const size_t quick[] = { 0, 1, 3, 6, 10, 12 };
	size_t n = o->quick ? sizeof(quick) / sizeof(quick[0]) : sizeof(cases) / sizeof(cases[0]);

	for (size_t i = 0; i < n; i++) {
		const struct rxb_case *c = &cases[o->quick ? quick[i] : i];
		struct measured m[READERS] = { 0 };
		struct ratios q = { 0 };
		struct sb_series calls = { 0 };
		unsigned int from;
		int err = run_case(o, c, m, &q);

		if (err)
			return err;
		if (i)
			continue;
		from = o->report->n;
		for (unsigned int k = 0; k < m[0].calls.n; k++)
			sb_add(&calls, m[0].calls.v[k] * (double)(c->payload + RXB_HEAD) / 1e9);
		fact(o->report, "pages 1 MiB", "mapped", "%", &m[0].mapped, SB_AT_LEAST, 99);
		fact(o->report, "pages 1 MiB", "in one piece", "%", &m[0].one, SB_AT_LEAST, 99);
		fact(o->report, "pages 1 MiB", "sleeps a message", "", &m[0].sleeps, SB_AT_MOST, 1);
		fact(o->report, "pages 1 MiB", "calls a message", "", &calls, SB_AT_MOST, 3.5);
		sb_print(o->report, from);
	}
	return 0;
}

static int all_cpus(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	for (long i = 0; i < sysconf(_SC_NPROCESSORS_ONLN); i++)
		CPU_SET(i, &set);
	return sched_setaffinity(0, sizeof(set), &set) ? -errno : 0;
}

static int index_of(const char *name)
{
	return (int)(rxb_reader(name) - rxb_readers);
}

/* Interrupts of readers that map: each release in the way of the selftest, one for many here. */
static void tlb_row(const struct sb_opts *o, const struct rxb_case *c, const struct measured *m)
{
	const struct measured *us = &m[index_of("rx-map")], *it = &m[index_of("tcp_mmap")];
	struct sb_row *row;
	char name[48];

	case_name(c, name, sizeof(name));
	row = sb_row(o->report, "tlb", name, "tcp_mmap", "x");
	row->ours = us->ipis;
	row->theirs = it->ipis;
	for (unsigned int n = 0; n < us->ipis.n && n < it->ipis.n; n++)
		sb_add(&row->figure, it->ipis.v[n] / fmax(us->ipis.v[n], 0.5));
	/* Only where all threads run at a time is there somebody to interrupt. */
	if (c->touch)
		sb_goal(row, SB_AT_LEAST, 10);
	snprintf(row->side_unit, sizeof(row->side_unit), "/GB");
	snprintf(row->note, sizeof(row->note), "rx-map; what else the machine does counts too");
	sb_print(o->report, o->report->n - 1);
}

int rxb_threads(const struct sb_opts *o)
{
	static const struct rxb_case cases[] = {
		{ RXB_PAGES, 1 << 20, 2, true, MSS, 0 },
		{ RXB_PAGES, 1 << 20, 2, false, MSS, 0 },
		{ RXB_PAGES, 1 << 20, 4, false, MSS, 0 },
		{ RXB_SEND, 1 << 20, 4, false, 0, 0 },
	};
	int err = all_cpus();

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]) && !err; i++) {
		struct measured m[READERS] = { 0 };
		struct ratios q = { 0 };

		if (o->quick && i > 1)
			break;
		err = run_case(o, &cases[i], m, &q);
		if (!err && cases[i].mss)
			tlb_row(o, &cases[i], m);
	}
	sb_pin_cpu(o->cpu);
	return err;
}

static int tool(const struct sb_opts *o, const char *words)
{
	char line[SB_PATH + 64];

	snprintf(line, sizeof(line), "%s rx %s >/dev/null 2>&1", o->kcmtool, words);
	return system(line) ? -EIO : 0;
}

/* Sender and receiver that know nothing of rx: the selftest's, on any port. */
int rxb_tune(const struct sb_opts *o)
{
	struct rxb_case c = { RXB_STREAM, 1 << 20, 1, false, 0, TUNE_PORT };
	const struct rxb_reader *reader = rxb_reader("tcp_mmap");
	struct measured plain = { 0 }, tuned = { 0 };
	struct sb_series calls = { 0 }, cpu = { 0 };
	uint64_t total = o->quick ? 256ULL << 20 : 1ULL << 30;
	unsigned int from = o->report->n;
	struct sb_row *row;
	int err = 0;

	for (unsigned int i = 0; i < o->rounds && !err; i++) {
		err = measure(reader, &c, total, &plain);
		err = err ?: tool(o, "tune --port 7999");
		if (!err) {
			err = measure(reader, &c, total, &tuned);
			tool(o, "untune port7999");
		}
		if (err)
			break;
		sb_add(&calls, plain.last_calls / tuned.last_calls);
		sb_add(&cpu, plain.last_cpu / tuned.last_cpu);
	}
	if (err) {
		fprintf(stderr, "bench_rx: tune: %s\n", strerror(-err));
		return err;
	}
	row = sb_row(o->report, "tune", "calls, unmodified programs", "the same without", "x");
	row->figure = calls;
	row->ours = tuned.calls;
	row->theirs = plain.calls;
	snprintf(row->side_unit, sizeof(row->side_unit), "/GB");
	sb_goal(row, SB_AT_LEAST, 5);
	row = sb_row(o->report, "tune", "CPU, unmodified programs", "the same without", "x");
	row->figure = cpu;
	row->ours = tuned.cpu;
	row->theirs = plain.cpu;
	snprintf(row->side_unit, sizeof(row->side_unit), "s/GB");
	sb_goal(row, SB_AT_LEAST, 2);
	note(row, &tuned);
	sb_print(o->report, from);
	return 0;
}
