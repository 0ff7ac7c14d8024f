// SPDX-License-Identifier: GPL-2.0
/* sock top: sockets with their rates, and as plain tables. */
#include <bpf/bpf.h>
#include <errno.h>
#include <signal.h>
#include <time.h>
#include "cmd_sock_names.h"
#include "cmd_sock_top.h"

#define SECOND	       1000000000ULL
#define BATCH_ROWS     20
#define INTERVAL_LEAST 100000000ULL

volatile int top_interrupted;

static void on_signal(int sig)
{
	(void)sig;
	top_interrupted = 1;
}

uint64_t top_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * SECOND + (uint64_t)ts.tv_nsec;
}

static const char *const by_names[] = {
	[TOP_BY_BYTES] = "bytes_s", [TOP_BY_RX] = "rx_s",	    [TOP_BY_TX] = "tx_s",
	[TOP_BY_MSGS] = "msgs_s",   [TOP_BY_RETRANS] = "retrans_s",
};

int top_sort_parse(struct top *t, const char *text)
{
	size_t n = strcspn(text, ":");

	t->reverse = false;
	for (size_t i = TOP_BY_BYTES; i < ARRAY_LEN(by_names); i++) {
		if (strlen(by_names[i]) != n || strncmp(by_names[i], text, n))
			continue;
		t->by = (enum top_by)i;
		t->reverse = streq(text + n, ":asc");
		if (!text[n] || t->reverse || streq(text + n, ":desc"))
			return 0;
	}
	t->by = TOP_BY_FIELD;
	return sock_sort_parse(&t->sort, text);
}

const char *top_sort_name(const struct top *t)
{
	return t->by == TOP_BY_FIELD ? t->sort.field->name : by_names[t->by];
}

void top_process(const struct kcm_sk_info *i, char *text, size_t size)
{
	snprintf(text, size, i->pid ? "%.*s/%u" : "%.*s", (int)sizeof(i->comm), i->comm, i->pid);
	sock_text_clean(text);
}

/* ---- rates ---- */

static struct top_seen *seen_slot(struct top_seen *seen, size_t size, uint64_t cookie)
{
	size_t i = (size_t)((cookie * 0x9e3779b97f4a7c15ULL) >> 32) & (size - 1);

	while (seen[i].cookie && seen[i].cookie != cookie)
		i = (i + 1) & (size - 1);
	return &seen[i];
}

static uint64_t per_second(uint64_t now, uint64_t before, uint64_t ns)
{
	return now > before && ns ? (uint64_t)((double)(now - before) * 1e9 / (double)ns + 0.5) : 0;
}

static void rates_of(const struct top *t, struct top_row *row, uint64_t ns)
{
	const struct kcm_sock *s = row->s;
	struct top_seen *before = NULL, none = { 0 };

	if (!ns)
		return;
	if (t->seen_size)
		before = seen_slot(t->seen, t->seen_size, s->cookie);
	if (!before || !before->cookie) {
		/* It is new, or it did not match before: then its past says nothing. */
		if (s->info.start_ns < t->taken_ns)
			return;
		before = &none;
	}
	row->rx = per_second(s->rx_bytes, before->rx, ns);
	row->tx = per_second(s->tx_bytes, before->tx, ns);
	row->msgs = per_second(s->rx_msgs + s->tx_msgs, before->msgs, ns);
	row->retrans = per_second(s->info.retrans, before->retrans, ns);
}

static int remember(struct top *t)
{
	size_t size = 64;
	struct top_seen *seen;

	while (size < 2 * t->list.n)
		size *= 2;
	seen = calloc(size, sizeof(*seen));
	if (!seen)
		return -ENOMEM;
	for (size_t i = 0; i < t->list.n; i++) {
		const struct kcm_sock *s = &t->list.sock[i];

		*seen_slot(seen, size, s->cookie) =
			(struct top_seen){ s->cookie, s->rx_bytes, s->tx_bytes,
					   s->rx_msgs + s->tx_msgs, s->info.retrans };
	}
	free(t->seen);
	t->seen = seen;
	t->seen_size = size;
	return 0;
}

static uint64_t rate_by(const struct top_row *r, enum top_by by)
{
	switch (by) {
	case TOP_BY_RX:
		return r->rx;
	case TOP_BY_TX:
		return r->tx;
	case TOP_BY_MSGS:
		return r->msgs;
	case TOP_BY_RETRANS:
		return r->retrans;
	default:
		return r->rx + r->tx;
	}
}

static int order(const void *a, const void *b, void *arg)
{
	const struct top_row *x = a, *y = b;
	const struct top *t = arg;
	uint64_t m = rate_by(x, t->by), n = rate_by(y, t->by);
	int cmp;

	if (t->by == TOP_BY_FIELD) {
		cmp = sock_field_cmp(t->sort.field, x->s, y->s, t->filter.now_ns);
		cmp = t->sort.descending ? -cmp : cmp;
	} else {
		cmp = m > n ? -1 : m < n;
		if (!cmp) { /* the quiet ones: by what they did in all */
			m = x->s->rx_bytes + x->s->tx_bytes;
			n = y->s->rx_bytes + y->s->tx_bytes;
			cmp = m > n ? -1 : m < n;
		}
	}
	cmp = t->reverse ? -cmp : cmp;
	return cmp ?: (x->s->cookie < y->s->cookie ? -1 : 1);
}

void top_order(struct top *t)
{
	qsort_r(t->rows, t->list.n, sizeof(*t->rows), order, t);
}

static void total(struct top *t, uint64_t ns)
{
	const struct kcm_sk_ctl *now = t->v.ctl;
	struct top_totals *sum = &t->totals;

	memset(sum, 0, sizeof(*sum));
	for (size_t i = 0; i < t->list.n; i++) {
		sum->rx += t->rows[i].rx;
		sum->tx += t->rows[i].tx;
		sum->msgs += t->rows[i].msgs;
	}
	sum->opened = per_second(now->opened, t->was.opened, ns);
	sum->closed = per_second(now->closed, t->was.closed, ns);
	sum->failed = per_second(now->failed, t->was.failed, ns);
	t->was = *now;
}

int top_take(struct top *t)
{
	uint64_t now = top_now(), ns = t->taken_ns ? now - t->taken_ns : 0;
	int err;

	t->filter.now_ns = now;
	sock_mux_scan();
	err = sock_list_take(&t->list, &t->v, &t->filter, SOCK_CONNS);
	free(t->rows);
	t->rows = calloc(t->list.n + 1, sizeof(*t->rows));
	if (err || !t->rows)
		return err ? err : -ENOMEM;
	for (size_t i = 0; i < t->list.n; i++) {
		t->rows[i].s = &t->list.sock[i];
		rates_of(t, &t->rows[i], ns);
	}
	total(t, ns);
	top_order(t);
	t->taken_ns = now;
	t->rounds++;
	return remember(t);
}

/* ---- plain tables ---- */

static void put_field(const struct top *t, struct out *o, const char *key, enum sock_field_id id,
		      const struct kcm_sock *s, void (*fn)(uint64_t, char *))
{
	char text[SOCK_TEXT] = "-";
	uint64_t num;

	if (sock_field_num(&sock_fields[id], s, t->filter.now_ns, &num))
		fn(num, text);
	out_figure(o, key, text);
}

static void put_text(const struct top *t, struct out *o, const struct top_row *r)
{
	char text[SOCK_ADDR];

	sock_addr_text(r->s->info.family, r->s->info.laddr, r->s->info.lport, text);
	out_str(o, "local", text);
	sock_addr_text(r->s->info.family, r->s->info.raddr, r->s->info.rport, text);
	out_str(o, "peer", text);
	sock_bytes_text(r->rx, text);
	out_figure(o, "rx_s", text);
	sock_bytes_text(r->tx, text);
	out_figure(o, "tx_s", text);
	sock_count_text(r->msgs, text);
	out_figure(o, "msgs_s", text);
	put_field(t, o, "rtt", SOCK_F_RTT, r->s, sock_time_text);
	put_field(t, o, "p99", SOCK_F_LAT_P99, r->s, sock_time_text);
	put_field(t, o, "retrans", SOCK_F_RETRANS, r->s, sock_count_text);
	put_field(t, o, "idle", SOCK_F_IDLE, r->s, sock_time_text);
	top_process(&r->s->info, text, sizeof(text));
	out_str(o, "process", text);
}

static void put_rows(const struct top *t, struct out *o)
{
	static const struct out_column columns[] = {
		{ "local", NULL },   { "peer", NULL },	     { "rx_s", "RX/S" },
		{ "tx_s", "TX/S" },  { "msgs_s", "MSGS/S" }, { "rtt", NULL },
		{ "p99", NULL },     { "retrans", NULL },    { "idle", NULL },
		{ "process", NULL },
	};

	out_table(o, "sockets", columns, ARRAY_LEN(columns));
	for (size_t i = 0; i < t->list.n && i < t->limit; i++) {
		const struct top_row *r = &t->rows[i];

		out_row(o);
		if (out_format(o) == OUT_TEXT) {
			put_text(t, o, r);
			continue;
		}
		out_u64(o, "rx_s", r->rx);
		out_u64(o, "tx_s", r->tx);
		out_u64(o, "msgs_s", r->msgs);
		out_u64(o, "retrans_s", r->retrans);
		sock_json(o, &t->v, r->s, t->filter.now_ns);
	}
	out_end(o);
}

static int put_block(const struct top *t, enum out_format format)
{
	struct out *o = out_new(stdout, format);
	char when[32], rx[SOCK_TEXT], tx[SOCK_TEXT];
	time_t now = time(NULL);

	if (!o)
		return -ENOMEM;
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", localtime(&now));
	if (format == OUT_TEXT) {
		sock_bytes_text(t->totals.rx, rx);
		sock_bytes_text(t->totals.tx, tx);
		out_note(o,
			 "%s  %zu connections  rx %s/s  tx %s/s  %llu msgs/s  opened %llu/s  "
			 "closed %llu/s  failed %llu/s",
			 when, t->list.n, rx, tx, (unsigned long long)t->totals.msgs,
			 (unsigned long long)t->totals.opened, (unsigned long long)t->totals.closed,
			 (unsigned long long)t->totals.failed);
	} else {
		out_str(o, "time", when);
		out_str(o, "sort", top_sort_name(t));
		out_u64(o, "connections", t->list.n);
		out_u64(o, "rx_s", t->totals.rx);
		out_u64(o, "tx_s", t->totals.tx);
		out_u64(o, "msgs_s", t->totals.msgs);
		out_u64(o, "opened_s", t->totals.opened);
		out_u64(o, "closed_s", t->totals.closed);
		out_u64(o, "failed_s", t->totals.failed);
		out_u64(o, "beyond", t->v.ctl->beyond);
		out_u64(o, "no_storage", t->v.ctl->no_storage);
	}
	put_rows(t, o);
	if (format == OUT_TEXT)
		out_note(o, "%s", "");
	return out_finish(o);
}

static void nap(uint64_t ns)
{
	struct timespec ts = { (time_t)(ns / SECOND), (long)(ns % SECOND) };

	nanosleep(&ts, NULL);
}

static int batch(struct top *t, enum out_format format)
{
	int err = top_take(t);

	if (err)
		return sock_report(err, "cannot read sockets");
	sock_warn_losses(t->v.ctl);
	for (uint64_t i = 0; !t->count || i < t->count; i++) {
		nap(t->interval_ns);
		if (top_interrupted)
			break;
		err = top_take(t);
		if (err)
			return sock_report(err, "cannot read sockets");
		err = put_block(t, format);
		if (err)
			return err == -EPIPE ? 0
					     : report(PROBLEM(.err = err), "cannot write output");
	}
	return 0;
}

/* ---- the command ---- */

static int take_options(struct top *t, const struct cmd_args *args)
{
	const char *interval = args_str(args, "interval", "1s");
	size_t used = 0;
	int code;

	for (int i = 0; i < args->npos && used < sizeof(t->filter_text); i++)
		used += (size_t)snprintf(t->filter_text + used, sizeof(t->filter_text) - used,
					 "%s%s", i ? " " : "", args->pos[i]);
	code = sock_filter_parse(&t->filter, args->pos, args->npos);
	code = code ?: top_sort_parse(t, args_str(args, "sort", "bytes_s"));
	code = code ?: args_u64(args, "count", 1, UINT64_MAX, 0, &t->count);
	code = code ?: args_u64(args, "limit", 1, UINT32_MAX, 0, &t->limit);
	if (!code && (!sock_text_time(interval, &t->interval_ns) ||
		      t->interval_ns < INTERVAL_LEAST || t->interval_ns > 86400 * SECOND))
		code = report(PROBLEM(.code = KCM_EXIT_USAGE, .where = "interval",
				      .why = "no time from 100ms to 1d", .next = "--interval 2s"),
			      "bad value '%s'", interval);
	return code;
}

int sock_top(const struct cmd_args *args)
{
	enum out_format format = out_format(args->out);
	bool plain = args_flag(args, "batch") || format != OUT_TEXT || !isatty(STDOUT_FILENO) ||
		     !isatty(STDIN_FILENO);
	struct sigaction sa = { .sa_handler = on_signal };
	struct top t = { .v = SOCK_VIEW_NONE };
	int code = take_options(&t, args);

	code = code ?: sock_open(&t.v, false);
	if (code)
		return code;
	out_raw(args->out); /* each block is a document of its own */
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGHUP, &sa, NULL);
	if (plain) {
		t.limit = t.limit ? t.limit : BATCH_ROWS;
		code = batch(&t, format);
	} else {
		code = top_screen(&t);
	}
	sock_list_free(&t.list);
	free(t.rows);
	free(t.seen);
	sock_view_close(&t.v);
	return code;
}
