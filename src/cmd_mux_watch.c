// SPDX-License-Identifier: GPL-2.0
/*
 * mux watch: rates from differences of counters, once an interval. On a terminal the screen is
 * drawn anew; else one block of text follows the other; with -j one JSON document a line.
 */
#include <errno.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <time.h>
#include "cmd_mux.h"

#define CONNS_SHOWN 20

struct seen_conn {
	uint32_t gen;
	uint64_t msgs, bytes, holds;
};

struct watch {
	struct mux_view mv;
	struct kcm_wstat *workers; /* as they were */
	struct seen_conn *conns;
	struct mux_sum sum;
	uint64_t time_ns;
	uint64_t errors;
	bool terminal;
	unsigned int shown; /* connections at most */
};

struct rate {
	uint32_t slot;
	uint64_t msgs, bytes, holds; /* a second */
};

static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
	(void)sig;
	interrupted = 1;
}

static uint64_t per_second(uint64_t now, uint64_t before, uint64_t ns)
{
	return now > before && ns ? (uint64_t)((double)(now - before) * 1e9 / (double)ns) : 0;
}

static uint64_t count_errors(const struct kcm_mux_conf *c)
{
	return c->bad_frames + c->too_big + c->truncated + c->timeouts + c->resets + c->tx_aborts +
	       c->lost_msgs;
}

static void put_total(struct out *o, struct watch *w, uint64_t ns)
{
	static const struct out_column columns[] = {
		{ "msgs_s", "MSGS/S" }, { "bytes_s", "BYTES/S" },   { "conns", NULL },
		{ "held", NULL },	{ "workers", NULL },	    { "waiting", NULL },
		{ "in_hand", NULL },	{ "tx_queued", NULL },	    { "arena_used", NULL },
		{ "errors", NULL },	{ "errors_s", "ERRORS/S" },
	};
	uint64_t errors = count_errors(w->mv.v.conf);
	struct mux_sum s;

	mux_sum(&w->mv.v, w->mv.tx, &s);
	out_table(o, "total", columns, ARRAY_LEN(columns));
	out_row(o);
	out_u64(o, "msgs_s", per_second(s.rx_msgs, w->sum.rx_msgs, ns));
	out_u64(o, "bytes_s", per_second(s.rx_bytes, w->sum.rx_bytes, ns));
	out_u64(o, "conns", s.conns);
	out_u64(o, "held", s.held);
	out_u64(o, "workers", s.workers);
	out_u64(o, "waiting", s.waiting);
	out_u64(o, "in_hand", s.in_hand);
	out_u64(o, "tx_queued", s.tx_queued);
	out_fmt(o, "arena_used", "%llu%%",
		s.arena_bytes ? (unsigned long long)(s.used_bytes * 100 / s.arena_bytes) : 0);
	out_u64(o, "errors", errors);
	out_u64(o, "errors_s", per_second(errors, w->errors, ns));
	out_end(o);
	w->sum = s;
	w->errors = errors;
}

/* Quantiles of the interval alone: the difference of two histograms. */
static void put_latency(struct out *o, const struct kcm_wstat *now, const struct kcm_wstat *before)
{
	__u64 hist[KCM_HIST], any = 0;
	char text[MUX_TIME];

	for (int i = 0; i < KCM_HIST; i++)
		any |= hist[i] = now->hist[i] - before->hist[i];
	mux_time_text(mux_hist_quantile(hist, 0.5, now->lat_max_ns), text, sizeof(text));
	out_str(o, "p50", any ? text : NULL);
	mux_time_text(mux_hist_quantile(hist, 0.99, now->lat_max_ns), text, sizeof(text));
	out_str(o, "p99", any ? text : NULL);
}

static void put_workers(struct out *o, struct watch *w, uint64_t ns)
{
	static const struct out_column columns[] = {
		{ "slot", NULL },
		{ "pid", NULL },
		{ "command", NULL },
		{ "state", NULL },
		{ "msgs_s", "MSGS/S" },
		{ "bytes_s", "BYTES/S" },
		{ "in_hand", NULL },
		{ "p50", NULL },
		{ "p99", NULL },
		{ "sleeps_s", "SLEEPS/S" },
		{ "replies_s", "REPLIES/S" },
	};

	out_table(o, "workers", columns, ARRAY_LEN(columns));
	for (uint32_t i = 0; i < KCM_WORKERS_MAX; i++) {
		struct kcm_wstat now = w->mv.v.wstats[i], *before = &w->workers[i];
		char comm[32];

		if (now.start_ns != before->start_ns)
			memset(before, 0, sizeof(*before));
		if (now.state != KCM_WORKER_NONE) {
			mux_comm((int)now.pid, comm, sizeof(comm));
			out_row(o);
			out_u64(o, "slot", i);
			out_u64(o, "pid", now.pid);
			out_str(o, "command", comm);
			out_str(o, "state", mux_worker_state_name(now.state));
			out_u64(o, "msgs_s", per_second(now.msgs, before->msgs, ns));
			out_u64(o, "bytes_s", per_second(now.bytes, before->bytes, ns));
			out_u64(o, "in_hand", now.out);
			put_latency(o, &now, before);
			out_u64(o, "sleeps_s", per_second(now.sleeps, before->sleeps, ns));
			out_u64(o, "replies_s", per_second(now.tx_msgs, before->tx_msgs, ns));
		}
		*before = now;
	}
	out_end(o);
}

static int busiest_first(const void *a, const void *b)
{
	const struct rate *x = a, *y = b;

	if (x->msgs != y->msgs)
		return x->msgs < y->msgs ? 1 : -1;
	return x->slot < y->slot ? -1 : 1;
}

static void put_conns(struct out *o, struct watch *w, uint64_t ns)
{
	static const struct out_column columns[] = {
		{ "slot", NULL },	{ "peer", NULL },	  { "state", NULL },
		{ "msgs_s", "MSGS/S" }, { "bytes_s", "BYTES/S" }, { "holds_s", "HOLDS/S" },
		{ "hold", "HELD" },
	};
	_cleanup_free_ struct rate *rates = calloc(w->mv.v.cfg.n_conns, sizeof(*rates));
	char peer[MUX_ADDR];
	size_t n = 0;

	for (uint32_t i = 0; rates && i < w->mv.v.cfg.n_conns; i++) {
		const struct kcm_conn *c = &w->mv.v.conns[i];
		struct seen_conn now = { c->gen, c->msgs, c->bytes, c->holds },
				 *before = &w->conns[i];

		if (LOAD(&c->state) == KCM_CONN_FREE)
			continue;
		if (now.gen != before->gen)
			memset(before, 0, sizeof(*before));
		rates[n++] = (struct rate){ i, per_second(now.msgs, before->msgs, ns),
					    per_second(now.bytes, before->bytes, ns),
					    per_second(now.holds, before->holds, ns) };
		*before = now;
	}
	if (rates)
		qsort(rates, n, sizeof(*rates), busiest_first);
	out_table(o, "conns", columns, ARRAY_LEN(columns));
	for (size_t i = 0; i < n && i < w->shown; i++) {
		const struct kcm_conn *c = &w->mv.v.conns[rates[i].slot];

		mux_addr(c, true, peer, sizeof(peer));
		out_row(o);
		out_u64(o, "slot", rates[i].slot);
		out_str(o, "peer", peer);
		out_str(o, "state", mux_conn_state_name(c->state));
		out_u64(o, "msgs_s", rates[i].msgs);
		out_u64(o, "bytes_s", rates[i].bytes);
		out_u64(o, "holds_s", rates[i].holds);
		out_str(o, "hold", c->state == KCM_CONN_HELD ? mux_hold_name(c->hold) : NULL);
	}
	out_end(o);
	if (n > w->shown)
		out_note(o, "and %zu more connections: kcmtool mux conns %s", n - w->shown,
			 w->mv.name);
}

/* One block. Return: 0 or -errno of the output. */
static int draw(struct watch *w, enum out_format format, uint64_t ns)
{
	struct out *o = out_new(stdout, format);
	char when[32];
	time_t t = time(NULL);

	if (!o)
		return -ENOMEM;
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", localtime(&t));
	if (format == OUT_TEXT && w->terminal)
		fputs("\033[H\033[J", stdout);
	if (format == OUT_TEXT) {
		out_note(o, "mux %s  %s  owner %d (%s)", w->mv.name, when, w->mv.owner_pid,
			 w->mv.owner_pid ? w->mv.owner : "none");
	} else {
		out_str(o, "name", w->mv.name);
		out_str(o, "time", when);
		out_i64(o, "owner_pid", w->mv.owner_pid);
	}
	put_total(o, w, ns);
	put_workers(o, w, ns);
	put_conns(o, w, ns);
	if (format == OUT_TEXT && !w->terminal)
		out_note(o, "%s", "");
	return out_finish(o);
}

static unsigned int rows_for_conns(void)
{
	struct winsize ws;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) || ws.ws_row < 20)
		return CONNS_SHOWN;
	return ws.ws_row > 40 ? ws.ws_row - 24U : CONNS_SHOWN / 2;
}

static void nap(uint64_t us)
{
	struct timespec ts = { (time_t)(us / 1000000), (long)(us % 1000000) * 1000 };

	nanosleep(&ts, NULL);
}

/* The rates of the first block are those since @w->time_ns, too. */
static void take_first(struct watch *w)
{
	struct out *o;
	FILE *null = fopen("/dev/null", "we");

	o = null ? out_new(null, OUT_TEXT) : NULL;
	if (o) {
		put_total(o, w, 0);
		put_workers(o, w, 0);
		put_conns(o, w, 0);
		out_finish(o);
	}
	if (null)
		fclose(null);
	w->time_ns = now_ns();
}

static int watch_loop(struct watch *w, enum out_format format, uint64_t us, uint64_t count)
{
	int err = 0;

	take_first(w);
	for (uint64_t i = 0; (!count || i < count) && !interrupted && !err; i++) {
		uint64_t now;

		nap(us);
		if (interrupted)
			break;
		w->mv.owner_pid = mux_owner(w->mv.name);
		now = now_ns();
		if (w->terminal)
			w->shown = rows_for_conns();
		err = draw(w, format, now - w->time_ns);
		w->time_ns = now;
	}
	if (err && err != -EPIPE)
		return report(PROBLEM(.err = err), "cannot write output");
	return 0;
}

int mux_watch(const struct cmd_args *args)
{
	enum out_format format = out_format(args->out);
	struct sigaction sa = { .sa_handler = on_signal };
	struct watch w = { .shown = CONNS_SHOWN };
	uint64_t us, count;
	int code = mux_time_us(args, "interval", 86400000000ULL, 1000000, &us);

	code = code ?: args_u64(args, "count", 1, UINT64_MAX, 0, &count);
	code = code ?: mux_view_open(&w.mv, args->pos[0]);
	if (code)
		return code;
	out_raw(args->out); /* each block is a document of its own */
	w.terminal = isatty(STDOUT_FILENO);
	w.workers = calloc(KCM_WORKERS_MAX, sizeof(*w.workers));
	w.conns = calloc(w.mv.v.cfg.n_conns, sizeof(*w.conns));
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	if (w.workers && w.conns)
		code = watch_loop(&w, format, us, count);
	else
		code = report(PROBLEM(.err = ENOMEM), "cannot watch");
	free(w.workers);
	free(w.conns);
	mux_view_close(&w.mv);
	return code;
}
