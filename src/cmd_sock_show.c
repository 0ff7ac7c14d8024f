// SPDX-License-Identifier: GPL-2.0
/* sock show, sock fields. */
#include <errno.h>
#include "cmd_sock_list.h"
#include "cmd_sock_names.h"

struct show {
	struct out *o;
	const struct sock_view *v;
	uint64_t now_ns;
	uint64_t limit, shown;
};

typedef void (*text_fn)(uint64_t value, char text[SOCK_TEXT]);

/* "-" for what is not known. */
static void put(struct show *w, const char *key, enum sock_field_id id, const struct kcm_sock *s,
		text_fn fn)
{
	char text[SOCK_TEXT] = "-";
	uint64_t num;

	if (sock_field_num(&sock_fields[id], s, w->now_ns, &num))
		fn(num, text);
	out_figure(w->o, key, text);
}

static void put_labels(struct show *w, const struct kcm_sk_info *i)
{
	char text[KCM_SK_LABELS * sizeof(struct kcm_sk_label) + 1] = "";
	size_t used = 0;

	for (int l = 0; l < KCM_SK_LABELS; l++)
		if (*i->label[l].key)
			used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%.*s=%.*s",
						 used ? "," : "", KCM_SK_KEY, i->label[l].key,
						 KCM_SK_VALUE, i->label[l].value);
	sock_text_clean(text); /* from an application: no escape sequences */
	out_str(w->o, "labels", used ? text : NULL);
}

static void put_who(struct show *w, const struct kcm_sk_info *i)
{
	const char *netns;
	char comm[sizeof(i->comm) + 1] = "";

	if (i->netns_cookie != sock_netns_own()) {
		netns = sock_netns_name(i->netns_cookie);
		if (netns)
			out_str(w->o, "netns", netns);
		else
			out_fmt(w->o, "netns", "#%llu", (unsigned long long)i->netns_cookie);
	}
	memcpy(comm, i->comm, sizeof(i->comm));
	sock_text_clean(comm);
	if (i->pid)
		out_fmt(w->o, "process", "%s/%u", comm, i->pid);
	else
		out_str(w->o, "process", *comm ? comm : NULL);
}

static void put_text(struct show *w, const struct kcm_sock *s)
{
	const struct sock_mux *m = sock_mux_of(s->cookie);
	bool msgs = s->frame || m || s->proto == KCM_SK_UDP;
	char text[SOCK_ADDR];

	out_str(w->o, "state", s->proto == KCM_SK_UDP ? "udp" : sock_state_name(s->state));
	out_str(w->o, "role", sock_role_name(s->role));
	sock_addr_text(s->info.family, s->info.laddr, s->info.lport, text);
	out_str(w->o, "local", text);
	sock_addr_text(s->info.family, s->info.raddr, s->info.rport, text);
	out_str(w->o, "peer", text);
	put(w, "rx", SOCK_F_RX_BYTES, s, sock_bytes_text);
	put(w, "tx", SOCK_F_TX_BYTES, s, sock_bytes_text);
	if (msgs)
		put(w, "rx_msgs", SOCK_F_RX_MSGS, s, sock_count_text);
	if (msgs && (!m || s->frame))
		put(w, "tx_msgs", SOCK_F_TX_MSGS, s, sock_count_text);
	put(w, "rate", SOCK_F_RATE, s, sock_rate_text);
	put(w, "rtt", SOCK_F_RTT, s, sock_time_text);
	put(w, "retrans", SOCK_F_RETRANS, s, sock_count_text);
	put(w, "latency", SOCK_F_LAT_AVG, s, sock_time_text);
	put(w, "p99", SOCK_F_LAT_P99, s, sock_time_text);
	put(w, "age", SOCK_F_AGE, s, sock_time_text);
	put(w, "idle", SOCK_F_IDLE, s, sock_time_text);
	put_who(w, &s->info);
	out_str(w->o, "mux", m ? m->mux : NULL);
	if (s->info.unframed)
		out_str(w->o, "unframed", sock_unframed_name(s->info.unframed));
	put_labels(w, &s->info);
}

static int show_one(const struct kcm_sock *s, void *arg)
{
	struct show *w = arg;

	out_row(w->o);
	if (out_format(w->o) == OUT_TEXT)
		put_text(w, s);
	else
		sock_json(w->o, w->v, s, w->now_ns);
	return ++w->shown == w->limit;
}

static int show_sorted(struct show *w, const struct sock_filter *f, unsigned int which,
		       const struct sock_sort *sort)
{
	struct sock_list l = { 0 };
	int err = sock_list_take(&l, w->v, f, which);

	sock_list_sort(&l, sort, w->now_ns);
	for (size_t i = 0; !err && i < l.n; i++)
		err = show_one(&l.sock[i], w);
	sock_list_free(&l);
	return err;
}

static int show_all(struct show *w, const struct sock_filter *f, unsigned int which,
		    const struct sock_sort *sort)
{
	static const struct out_column columns[] = {
		{ "state", NULL },   { "role", NULL }, { "local", NULL },    { "peer", NULL },
		{ "netns", NULL },   { "rx", NULL },   { "tx", NULL },	     { "rx_msgs", NULL },
		{ "tx_msgs", NULL }, { "rate", NULL }, { "rtt", NULL },	     { "retrans", NULL },
		{ "latency", NULL }, { "p99", NULL },  { "age", NULL },	     { "idle", NULL },
		{ "process", NULL }, { "mux", NULL },  { "unframed", NULL }, { "labels", NULL },
	};
	int err;

	out_table(w->o, "sockets", columns, ARRAY_LEN(columns));
	out_sparse(w->o);
	err = sort->field ? show_sorted(w, f, which, sort) : sock_each(w->v, f, which, show_one, w);
	out_end(w->o);
	if (err == -ENOENT)
		return report(PROBLEM(.code = KCM_EXIT_FAILED, .where = SOCK_PIN_DIR "/refresh",
				      .err = err, .next = "kcmtool sock load"),
			      "cannot read sockets that have no slot");
	return err < 0 ? sock_report(err, "cannot read sockets that have no slot") : 0;
}

int sock_show(const struct cmd_args *args)
{
	_cleanup_sock_ struct sock_view v = SOCK_VIEW_NONE;
	struct show w = { .o = args->out, .v = &v };
	struct sock_filter f;
	struct sock_sort sort;
	unsigned int which;
	int code = sock_filter_parse(&f, args->pos, args->npos);

	code = code ?: sock_sort_parse(&sort, args_str(args, "sort", NULL));
	code = code ?: args_u64(args, "limit", 1, UINT32_MAX, 0, &w.limit);
	code = code ?: sock_open(&v, false);
	if (code)
		return code;
	which = sock_which(&f);
	if (args_flag(args, "listeners"))
		which = SOCK_LISTENERS;
	if (args_flag(args, "all"))
		which = SOCK_ALL;
	w.now_ns = f.now_ns;
	sock_mux_scan();
	if (out_format(args->out) != OUT_TEXT) {
		out_u64(args->out, "slots", v.ctl->cfg.slots);
		out_u64(args->out, "beyond", v.ctl->beyond);
		out_u64(args->out, "no_storage", v.ctl->no_storage);
	}
	sock_warn_losses(v.ctl);
	return show_all(&w, &f, which, &sort);
}

int sock_fields_list(const struct cmd_args *args)
{
	static const struct out_column columns[] = {
		{ "field", NULL }, { "also", NULL }, { "example", NULL }, { "help", "MEANING" }
	};
	const struct sock_field *f;

	out_table(args->out, "fields", columns, ARRAY_LEN(columns));
	for (f = sock_fields; f < sock_fields + SOCK_F_COUNT; f++) {
		out_row(args->out);
		out_str(args->out, "field", f->name);
		out_str(args->out, "also", f->alias);
		out_str(args->out, "example", f->example);
		out_str(args->out, "help", f->help);
	}
	out_end(args->out);
	return 0;
}
