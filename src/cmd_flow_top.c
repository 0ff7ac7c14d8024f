// SPDX-License-Identifier: GPL-2.0
/* flow top: the flows with most packets or bytes a second. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <time.h>
#include "cmd_flow.h"

struct rate {
	const struct flow_flow *flow;
	double packets, bytes; /* a second */
};

static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
	(void)sig;
	interrupted = 1;
}

/* All that tells one flow from another. */
static int by_name(const void *a, const void *b)
{
	return memcmp(a, b, offsetof(struct flow_flow, seen));
}

static bool sort_packets;

static int by_rate(const void *a, const void *b)
{
	const struct rate *x = a, *y = b;
	double d = sort_packets ? y->packets - x->packets : y->bytes - x->bytes;

	return d < 0 ? -1 : d > 0;
}

struct look {
	struct flow_flow *flow;
	size_t n;
	__u64 ns;
};

static __u64 now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (__u64)t.tv_sec * 1000000000ULL + (__u64)t.tv_nsec;
}

static int look(struct flow_inst *f, struct flow_want *want, struct look *l)
{
	size_t n, kept = 0;
	int err = flow_flows(f, &l->flow, &n);

	l->ns = now_ns();
	for (size_t i = 0; i < n; i++)
		if (flow_wanted(&l->flow[i], want))
			l->flow[kept++] = l->flow[i];
	l->n = kept;
	if (kept)
		qsort(l->flow, kept, sizeof(*l->flow), by_name);
	return err;
}

/* A counter that has gone down is another flow's of the same name. */
static double rate_of(__u64 now, __u64 before, double s)
{
	return (double)(now >= before ? now - before : now) / s;
}

static size_t rates(const struct look *now, const struct look *before, struct rate *r)
{
	double s = (double)(now->ns - before->ns) / 1e9;
	size_t n = 0;

	for (size_t i = 0; i < now->n; i++) {
		const struct flow_flow *f = &now->flow[i], *was = NULL;

		if (before->n)
			was = bsearch(f, before->flow, before->n, sizeof(*f), by_name);
		r[n].flow = f;
		r[n].packets = rate_of(f->packets, was ? was->packets : 0, s);
		r[n].bytes = rate_of(f->bytes, was ? was->bytes : 0, s);
		if (r[n].packets > 0)
			n++;
	}
	qsort(r, n, sizeof(*r), by_rate);
	return n;
}

static const struct out_column columns[] = {
	{ "proto", NULL },
	{ "source", NULL },
	{ "destination", NULL },
	{ "policy", NULL },
	{ "packets_s", "PACKETS/S" },
	{ "bits_s", "BIT/S" },
	{ "packets", NULL },
	{ "bytes", NULL },
};

static void draw(struct out *o, struct flow_labels *labels, const struct rate *r, size_t n)
{
	out_table(o, "flow", columns, ARRAY_LEN(columns));
	for (size_t i = 0; i < n; i++) {
		const struct flow_flow *f = r[i].flow;

		flow_put_name(o, f);
		out_str(o, "policy", f->current ? flow_label(labels, f->slot) : "(changed)");
		out_u64(o, "packets_s", (uint64_t)(r[i].packets + 0.5));
		out_u64(o, "bits_s", (uint64_t)(r[i].bytes * 8 + 0.5));
		out_u64(o, "packets", f->packets);
		out_u64(o, "bytes", f->bytes);
	}
	out_end(o);
}

/* One look after another: the policies may change in between, so each opens the instance anew. */
static int once(const struct cmd_args *args, struct look *before, uint64_t limit, bool first)
{
	_cleanup_flow_ struct flow_inst f = FLOW_INST_NONE;
	_cleanup_labels_ struct flow_labels labels = { .f = &f };
	_cleanup_free_ struct rate *r = NULL;
	struct look now = { 0 };
	struct flow_want want;
	size_t n;
	int err, code = flow_open(&f, args->pos[0], FLOW_READ);

	code = code ?: flow_want_take(&want, args, &f);
	code = code ?: flow_labels_make(&labels, &f);
	if (code)
		return code;
	err = look(&f, &want, &now);
	if (err)
		return flow_failed("cannot list flows", args->pos[0], err, "");
	if (!first) {
		struct out *o = out_new(stdout, out_format(args->out));

		r = calloc(now.n + 1, sizeof(*r));
		if (!o || !r)
			return report(PROBLEM(.err = ENOMEM), "cannot list flows");
		n = rates(&now, before, r);
		if (out_format(o) == OUT_TEXT && isatty(STDOUT_FILENO))
			fputs("\033[H\033[J", stdout);
		out_u64(o, "flows", now.n);
		draw(o, &labels, r, n < limit ? n : limit);
		err = out_finish(o);
		fflush(stdout);
		if (err)
			interrupted = 1;
	}
	free(before->flow);
	*before = now;
	return 0;
}

int flow_top(const struct cmd_args *args)
{
	struct sigaction sa = { .sa_handler = on_signal };
	const char *sort = args_str(args, "sort", "bytes");
	struct look before = { 0 };
	uint64_t limit, interval, count;
	int code = args_u64(args, "limit", 1, 1000000, 20, &limit);

	code = code ?: args_u64(args, "interval", 50, 3600000, 1000, &interval);
	code = code ?: args_u64(args, "count", 1, UINT32_MAX, UINT64_MAX, &count);
	if (code)
		return code;
	sort_packets = streq(sort, "packets");
	if (!sort_packets && !streq(sort, "bytes"))
		return report(PROBLEM(.code = KCM_EXIT_USAGE, .where = "--sort",
				      .next = "bytes or packets"),
			      "'%s' is nothing to sort by", sort);
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	code = once(args, &before, limit, true);
	for (uint64_t i = 0; !code && !interrupted && i < count; i++) {
		poll(NULL, 0, (int)interval);
		if (!interrupted)
			code = once(args, &before, limit, false);
	}
	free(before.flow);
	out_raw(args->out); /* each look was written whole */
	return code;
}
