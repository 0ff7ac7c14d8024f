// SPDX-License-Identifier: GPL-2.0
/* sock limit: how much connections may send. */
#include <errno.h>
#include "cmd_sock_list.h"
#include "cmd_sock_names.h"
#include "cmd_sock_rule.h"
#include "lib/pin.h"

#define NEXT	 "kcmtool sock limit port 80 rate=10Mbit"
#define RATE_MIN 1000	       /* bytes a second: a segment in about a minute */
#define RATE_MAX 0xfffffffeULL /* SO_MAX_PACING_RATE of bpf_setsockopt() has 32 bits */
#define MSGS_MAX 100000000ULL

static int usage(const char *where, const char *why, const char *next, const char *what)
{
	return report(PROBLEM(.code = KCM_EXIT_USAGE, .where = where, .why = why, .next = next),
		      "%s", what);
}

/* ---- words ---- */

/* "10Mbit", "10M" as everywhere, and "10MB/s", of 10^6 bytes. */
static bool rate_of(const char *text, uint64_t *rate)
{
	size_t n = strlen(text);
	char bits[32];

	if (n < 4 || n > 24 || !streq(text + n - 3, "B/s"))
		return sock_text_rate(text, rate);
	snprintf(bits, sizeof(bits), "%.*sbit", (int)n - 3, text);
	return sock_text_rate(bits, rate) && !__builtin_mul_overflow(*rate, (uint64_t)8, rate);
}

static int read_rate(const char *text, struct kcm_sk_rule *r)
{
	uint64_t rate;

	if (r->rate_bytes)
		return usage("rate", "it is given twice", NEXT, "cannot limit");
	if (!rate_of(text, &rate) || rate < RATE_MIN || rate > RATE_MAX)
		return report(PROBLEM(.code = KCM_EXIT_USAGE, .where = "rate",
				      .why = "no rate from 8kbit to 34Gbit",
				      .next = "rate=10Mbit, rate=1.5Gbit, rate=10MB/s"),
			      "bad value '%s'", text);
	r->rate_bytes = rate;
	return 0;
}

static int read_msgs(const char *text, struct kcm_sk_rule *r)
{
	size_t digits = strspn(text, "0123456789");
	char number[16];
	uint64_t n = 0;

	if (r->rate_msgs)
		return usage("msgs", "it is given twice", NEXT, "cannot limit");
	snprintf(number, sizeof(number), "%.*s", (int)(digits < 15 ? digits : 15), text);
	if (!digits || (text[digits] && !streq(text + digits, "/s")) || !str_to_u64(number, &n) ||
	    !n || n > MSGS_MAX)
		return report(PROBLEM(.code = KCM_EXIT_USAGE, .where = "msgs",
				      .why = "no number of messages a second, 1 to 100000000",
				      .next = "msgs=1000/s"),
			      "bad value '%s'", text);
	r->rate_msgs = (__u32)n;
	return 0;
}

/* Conditions and limits in any order; what is left in @words are the conditions. */
static int read_words(char **words, int n, struct kcm_sk_rule *limit, int *conditions)
{
	int code = 0;

	*conditions = 0;
	for (int i = 0; i < n && !code; i++) {
		if (!strncmp(words[i], "rate=", 5))
			code = read_rate(words[i] + 5, limit);
		else if (!strncmp(words[i], "msgs=", 5))
			code = read_msgs(words[i] + 5, limit);
		else if (streq(words[i], "drop"))
			limit->drop = 1;
		else
			words[(*conditions)++] = words[i];
	}
	return code;
}

/* Datagrams can't be paced from here: send() does not wait for SO_MAX_PACING_RATE without fq. */
static int check_proto(struct kcm_sk_rule *r, const struct sock_view *v)
{
	struct kcm_sock s;
	__u32 slot = r->match & KCM_RULE_COOKIE ? sock_view_find(v, r->cookie) : KCM_SK_SLOT_NONE;
	bool udp = r->match & KCM_RULE_PROTO && r->proto == KCM_SK_UDP;

	if (slot != KCM_SK_SLOT_NONE && sock_view_read(v, slot, &s))
		udp |= s.proto == KCM_SK_UDP;
	if (r->drop)
		return 0;
	if (udp)
		return usage("proto udp", "the kernel paces TCP only",
			     "drop: datagrams above the limit are lost", "cannot limit");
	r->match |= KCM_RULE_PROTO;
	r->proto = KCM_SK_TCP;
	return 0;
}

static int read_rule(const struct cmd_args *args, const struct sock_view *v, struct kcm_sk_rule *r)
{
	struct kcm_sk_rule limit = { 0 };
	struct sock_filter f;
	int conditions, code = read_words(args->pos, args->npos, &limit, &conditions);

	if (code)
		return code;
	if (!conditions)
		return usage("limit", "no condition: for which sockets?", NEXT, "cannot limit");
	if (!limit.rate_bytes && !limit.rate_msgs)
		return usage("limit", "neither rate= nor msgs= is given", NEXT, "cannot limit");
	if (limit.rate_bytes && limit.rate_msgs)
		return usage("limit", "one of rate= and msgs=, not both", NEXT, "cannot limit");
	code = sock_filter_parse(&f, args->pos, conditions);
	code = code ?: sock_rule_from(r, &f);
	if (code)
		return code;
	r->rate_bytes = limit.rate_bytes;
	r->rate_msgs = limit.rate_msgs;
	r->drop = limit.drop;
	return check_proto(r, v);
}

/* ---- the table of rules: the lock is held ---- */

static struct kcm_sk_rule *rule_same(const struct sock_view *v, const struct kcm_sk_rule *r)
{
	for (int i = 0; i < KCM_SK_RULES; i++)
		if (v->rules[i].used && sock_rule_same(&v->rules[i], r))
			return &v->rules[i];
	return NULL;
}

/* Programs read a rule from the moment its number is there. */
static struct kcm_sk_rule *rule_add(const struct sock_view *v, const struct kcm_sk_rule *r)
{
	struct kcm_sk_rule *at = rule_same(v, r);
	__u32 number = 0;

	if (at) {
		at->rate_bytes = r->rate_bytes;
		at->rate_msgs = r->rate_msgs;
		at->drop = r->drop;
		return at;
	}
	for (int i = 0; i < KCM_SK_RULES; i++) {
		if (v->rules[i].used > number)
			number = v->rules[i].used;
		if (!v->rules[i].used && !at)
			at = &v->rules[i];
	}
	if (!at)
		return NULL;
	*at = *r;
	__atomic_store_n(&at->used, number + 1, __ATOMIC_SEQ_CST);
	__atomic_fetch_add(&v->ctl->rules, 1, __ATOMIC_SEQ_CST);
	return at;
}

static void rule_free(const struct sock_view *v, struct kcm_sk_rule *r)
{
	__atomic_store_n(&r->used, 0, __ATOMIC_SEQ_CST);
	__atomic_fetch_sub(&v->ctl->rules, 1, __ATOMIC_SEQ_CST);
}

/* ---- add ---- */

/* What became of the sockets that are there. */
struct now {
	__u64 limited[KCM_SK_RULES];
};

static int count_one(const struct kcm_sock *s, void *arg)
{
	struct now *now = arg;

	if (s->info.limit_rule && s->info.limit_rule <= KCM_SK_RULES)
		now->limited[s->info.limit_rule - 1]++;
	return 0;
}

static int count_now(const struct sock_view *v, struct now *now)
{
	static const struct sock_filter everything;

	memset(now, 0, sizeof(*now));
	return sock_each(v, &everything, SOCK_CONNS, count_one, now);
}

static void put_limit(struct out *o, const struct kcm_sk_rule *r)
{
	char rate[SOCK_TEXT];

	sock_rate_text(r->rate_bytes, rate);
	if (r->rate_msgs)
		out_fmt(o, "limit", "%u msgs/s", r->rate_msgs);
	else
		out_str(o, "limit", rate);
	out_u64(o, "rate_bytes", r->rate_bytes);
	out_u64(o, "rate_msgs", r->rate_msgs);
	out_bool(o, "drop", r->drop);
}

static int add_failed(int err, const char *why)
{
	return *why ? report(PROBLEM(.err = err, .where = "limit", .why = why,
				     .next = "kcmtool sock limit list; kcmtool doctor"),
			     "the rule is set, but not applied to all of the sockets there are")
		    : sock_report(err, "cannot limit");
}

static int limit_add(const struct cmd_args *args, const struct sock_view *v)
{
	struct kcm_sk_rule r = { 0 }, *at;
	__u64 refused = v->ctl->limit_refused;
	char why[160] = "", text[SOCK_RULE_TEXT];
	struct now now;
	size_t i;
	int err, code = read_rule(args, v, &r);

	if (code)
		return code;
	at = rule_add(v, &r);
	if (!at)
		return report(PROBLEM(.code = KCM_EXIT_FAILED, .where = "limit",
				      .why = "all 32 rules are used",
				      .next = "kcmtool sock limit list, kcmtool sock limit del N"),
			      "cannot limit");
	err = sock_rules_apply(v, why, sizeof(why));
	err = err ?: count_now(v, &now);
	if (err)
		return add_failed(err, why);
	i = (size_t)(at - v->rules);
	refused = v->ctl->limit_refused - refused;
	sock_rule_text(at, text);
	out_u64(args->out, "rule", at->used);
	out_str(args->out, "filter", text);
	put_limit(args->out, at);
	out_u64(args->out, "limited_now", now.limited[i]);
	out_u64(args->out, "refused_now", refused);
	if (refused && r.rate_msgs)
		warn("%llu connections are not framed, a limit of messages does nothing to them; "
		     "try: kcmtool sock frame PORT DESC",
		     (unsigned long long)refused);
	else if (!now.limited[i])
		warn("no connection is like that now: the rule is for new ones");
	return 0;
}

/* ---- del ---- */

static int limit_del(const struct cmd_args *args, const struct sock_view *v)
{
	char *const *words = args->pos + 1;
	struct kcm_sk_rule want, *r = NULL;
	struct sock_filter f;
	uint64_t number = 0;
	bool all = args->npos == 2 && streq(words[0], "all");
	unsigned int n = 0;
	char why[160] = "";
	int code = 0, err;

	if (args->npos < 2)
		return usage("limit", "no rule is given", "kcmtool sock limit del N, or all",
			     "cannot delete");
	if (!all && (args->npos > 2 || !str_to_u64(words[0], &number))) {
		code = sock_filter_parse(&f, words, args->npos - 1);
		code = code ?: sock_rule_from(&want, &f);
		r = code ? NULL : rule_same(v, &want);
		if (!code && !r && !(want.match & KCM_RULE_PROTO)) { /* check_proto() added it */
			want.match |= KCM_RULE_PROTO;
			want.proto = KCM_SK_TCP;
			r = rule_same(v, &want);
		}
	}
	if (code)
		return code;
	for (int i = 0; i < KCM_SK_RULES; i++)
		if (v->rules[i].used && (all || &v->rules[i] == r || v->rules[i].used == number)) {
			rule_free(v, &v->rules[i]);
			n++;
		}
	if (!n && !all)
		return report(PROBLEM(.code = KCM_EXIT_FAILED, .where = "limit",
				      .why = "no rule is like that",
				      .next = "kcmtool sock limit list"),
			      "cannot delete");
	err = n ? sock_rules_apply(v, why, sizeof(why)) : 0;
	if (err)
		return add_failed(err, why);
	out_u64(args->out, "deleted", n);
	return 0;
}

/* ---- list ---- */

static int limit_list(const struct cmd_args *args, const struct sock_view *v)
{
	static const struct out_column columns[] = {
		{ "rule", NULL }, { "filter", NULL },  { "limit", NULL }, { "drop", NULL },
		{ "now", NULL },  { "sockets", NULL }, { "hits", NULL },
	};
	struct out *o = args->out;
	char text[SOCK_RULE_TEXT];
	struct now now;
	int err = count_now(v, &now);

	if (err)
		return sock_report(err, "cannot list limits");
	out_table(o, "rules", columns, ARRAY_LEN(columns));
	for (int i = 0; i < KCM_SK_RULES; i++) {
		const struct kcm_sk_rule *r = &v->rules[i];

		if (!r->used)
			continue;
		sock_rule_text(r, text);
		out_row(o);
		out_u64(o, "rule", r->used);
		out_str(o, "filter", text);
		put_limit(o, r);
		out_u64(o, "now", now.limited[i]);
		out_u64(o, "sockets", r->sockets);
		out_u64(o, "hits", r->hits);
	}
	out_end(o);
	out_u64(o, "paced", v->ctl->limit_paced);
	out_u64(o, "refused", v->ctl->limit_refused);
	out_u64(o, "dropped", v->ctl->limit_drops);
	return 0;
}

int sock_limit(const struct cmd_args *args)
{
	const char *word = args->npos ? args->pos[0] : "list";
	bool list = streq(word, "list") || streq(word, "show");
	_cleanup_fd_ int lock = -1;
	struct sock_view v;
	int code;

	if (list && args->npos > 1)
		return usage("limit", "list takes nothing more", "kcmtool sock limit list",
			     "cannot list limits");
	if (!list) {
		lock = kcm_pin_lock(); /* two of us would take the same rule; and unload */
		if (lock < 0)
			return sock_report(lock, "cannot limit");
	}
	code = sock_open(&v, !list);
	if (code)
		return code;
	code = list					     ? limit_list(args, &v)
	       : streq(word, "del") || streq(word, "delete") ? limit_del(args, &v)
							     : limit_add(args, &v);
	sock_view_close(&v);
	return code;
}
