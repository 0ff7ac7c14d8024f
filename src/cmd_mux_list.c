// SPDX-License-Identifier: GPL-2.0
/* mux conns, mux workers: one line each. */
#include <errno.h>
#include <netinet/in.h>
#include "cmd_mux.h"

struct conn_filter {
	const char *state;
	const char *peer; /* address, or address:port */
	uint64_t port;	  /* local, 0 = any */
	bool held, partial;
	uint64_t limit;
};

static int take_filter(const struct cmd_args *args, struct conn_filter *f)
{
	int code = args_u64(args, "port", 1, 65535, 0, &f->port);

	f->state = args_str(args, "state", NULL);
	f->peer = args_str(args, "peer", NULL);
	f->held = args_flag(args, "held");
	f->partial = args_flag(args, "partial");
	for (int i = KCM_CONN_NEW; f->state && !streq(f->state, mux_conn_state_name(i)); i++)
		if (i == KCM_CONN_RESET)
			return report(PROBLEM(.code = KCM_EXIT_USAGE, .where = "state",
					      .why = "no such state",
					      .next = "kcmtool mux conns --help"),
				      "bad value '%s'", f->state);
	return code ?: args_u64(args, "limit", 1, UINT32_MAX, UINT32_MAX, &f->limit);
}

static bool wanted(const struct conn_filter *f, const struct kcm_conn *c, const char *peer)
{
	size_t n = f->peer ? strlen(f->peer) : 0;

	if (f->state && !streq(f->state, mux_conn_state_name(c->state)))
		return false;
	if (f->port && f->port != c->lport)
		return false;
	if ((f->held && c->state != KCM_CONN_HELD) || (f->partial && !c->asm_chunk))
		return false;
	if (!n || streq(f->peer, peer))
		return true;
	/* "10.0.0.1" or "::1" without a port: every port of it */
	if (*peer == '[' && *f->peer != '[')
		return !strncmp(f->peer, peer + 1, n) && peer[1 + n] == ']';
	return !strncmp(f->peer, peer, n) && peer[n] == ':' && !strchr(peer + n + 1, ':');
}

/* In JSON the number, in text what people read. */
static void put_age(struct out *o, const char *key, uint64_t since_ns, uint64_t now)
{
	uint64_t ns = since_ns && now > since_ns ? now - since_ns : 0;
	char text[MUX_TIME], key_ns[40];

	mux_time_text(ns, text, sizeof(text));
	out_str(o, key, since_ns ? text : NULL);
	snprintf(key_ns, sizeof(key_ns), "%s_ns", key);
	out_u64(o, key_ns, ns);
}

static void put_conn(struct out *o, const struct mux_view *mv, uint32_t slot, const char *peer)
{
	const struct kcm_conn *c = &mv->v.conns[slot];
	char local[MUX_ADDR];
	uint64_t now = now_ns();

	mux_addr(c, false, local, sizeof(local));
	out_row(o);
	out_u64(o, "slot", slot);
	out_u64(o, "id", (uint64_t)(c->gen + 1) << 32 | slot);
	out_str(o, "peer", peer);
	out_str(o, "local", local);
	out_str(o, "state", mux_conn_state_name(c->state));
	out_u64(o, "msgs", c->msgs);
	out_u64(o, "bytes", c->bytes);
	out_u64(o, "skbs", c->skbs);
	out_u64(o, "holds", c->holds);
	out_str(o, "hold", c->state == KCM_CONN_HELD ? mux_hold_name(c->hold) : NULL);
	out_str(o, "last_hold", c->holds ? mux_hold_name(c->hold) : NULL);
	out_u64(o, "partial_bytes", c->asm_chunk ? c->asm_have : 0);
	out_u64(o, "partial_needs", c->asm_chunk ? c->asm_need : 0);
	put_age(o, "partial", c->asm_chunk ? c->asm_since_ns : 0, now);
	if (mv->tx) {
		out_u64(o, "tx_queued", mv->tx[slot].queued_bytes);
		out_u64(o, "tx_msgs", mv->tx[slot].msgs);
	} else {
		out_str(o, "tx_queued", NULL);
		out_str(o, "tx_msgs", NULL);
	}
	put_age(o, "age", c->open_ns, now);
}

int mux_conns(const struct cmd_args *args)
{
	static const struct out_column columns[] = {
		{ "slot", NULL },    { "peer", NULL },	    { "local", NULL },	 { "state", NULL },
		{ "msgs", NULL },    { "bytes", NULL },	    { "holds", NULL },	 { "hold", "HELD" },
		{ "partial", NULL }, { "tx_queued", NULL }, { "tx_msgs", NULL }, { "age", NULL },
	};
	struct conn_filter f;
	_cleanup_view_ struct mux_view mv = { 0 };
	char peer[MUX_ADDR];
	uint64_t shown = 0;
	int code = take_filter(args, &f);

	code = code ?: mux_view_open(&mv, args->pos[0]);
	if (code)
		return code;
	out_table(args->out, "conns", columns, ARRAY_LEN(columns));
	for (uint32_t i = 0; i < mv.v.cfg.n_conns && shown < f.limit; i++) {
		if (LOAD(&mv.v.conns[i].state) == KCM_CONN_FREE)
			continue;
		mux_addr(&mv.v.conns[i], true, peer, sizeof(peer));
		if (!wanted(&f, &mv.v.conns[i], peer))
			continue;
		put_conn(args->out, &mv, i, peer);
		shown++;
	}
	out_end(args->out);
	return 0;
}

/* Quantiles of published -> released. */
static void put_latency(struct out *o, const struct kcm_wstat *w)
{
	static const struct {
		const char *key;
		double share;
	} quantiles[] = { { "p50", 0.5 }, { "p99", 0.99 } };
	char text[MUX_TIME], key[16];

	for (size_t i = 0; i < ARRAY_LEN(quantiles); i++) {
		uint64_t ns = mux_hist_quantile(w->hist, quantiles[i].share, w->lat_max_ns);

		mux_time_text(ns, text, sizeof(text));
		out_str(o, quantiles[i].key, w->lat_max_ns ? text : NULL);
		snprintf(key, sizeof(key), "%s_ns", quantiles[i].key);
		out_u64(o, key, ns);
	}
	mux_time_text(w->lat_max_ns, text, sizeof(text));
	out_str(o, "max", w->lat_max_ns ? text : NULL);
	out_u64(o, "max_ns", w->lat_max_ns);
}

static void put_worker(struct out *o, const struct mux_view *mv, uint32_t slot)
{
	const struct kcm_wstat *w = &mv->v.wstats[slot];
	char comm[32];

	mux_comm((int)w->pid, comm, sizeof(comm));
	out_row(o);
	out_u64(o, "slot", slot);
	out_u64(o, "pid", w->pid);
	out_str(o, "command", comm);
	out_str(o, "state", mux_worker_state_name(w->state));
	out_bool(o, "asleep", LOAD(&mv->v.ctl->sleepers) >> slot & 1);
	out_u64(o, "msgs", w->msgs);
	out_u64(o, "bytes", w->bytes);
	out_u64(o, "events", w->events);
	out_u64(o, "in_hand", w->out);
	put_latency(o, w);
	out_u64(o, "batches", w->claims);
	out_u64(o, "sleeps", w->sleeps);
	out_u64(o, "wakes_sent", w->wakes_sent);
	out_u64(o, "replies", w->tx_msgs);
	out_u64(o, "reply_bytes", w->tx_bytes);
	out_u64(o, "handed", w->tx_handed);
	out_u64(o, "refused", w->tx_again);
	put_age(o, "age", w->start_ns, now_ns());
}

int mux_workers(const struct cmd_args *args)
{
	static const struct out_column columns[] = {
		{ "slot", NULL },   { "pid", NULL },	 { "command", NULL }, { "state", NULL },
		{ "msgs", NULL },   { "bytes", NULL },	 { "in_hand", NULL }, { "p50", NULL },
		{ "p99", NULL },    { "max", NULL },	 { "sleeps", NULL },  { "replies", NULL },
		{ "handed", NULL }, { "refused", NULL }, { "age", NULL },
	};
	_cleanup_view_ struct mux_view mv;
	int code = mux_view_open(&mv, args->pos[0]);

	if (code)
		return code;
	out_table(args->out, "workers", columns, ARRAY_LEN(columns));
	for (uint32_t i = 0; i < KCM_WORKERS_MAX; i++)
		if (mv.v.wstats[i].state != KCM_WORKER_NONE)
			put_worker(args->out, &mv, i);
	out_end(args->out);
	return 0;
}
