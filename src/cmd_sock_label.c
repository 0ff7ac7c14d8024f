// SPDX-License-Identifier: GPL-2.0
/* sock label: an operator's labels on live sockets. */
#include <errno.h>
#include "cmd_sock_list.h"
#include "cmd_sock_rule.h"
#include "lib/sock_change.h"

#define NEXT "kcmtool sock label --help"

struct labels {
	int n;
	struct kcm_sk_label label[SOCK_VALUES];
};

/* ---- words ---- */

static bool printable(const char *text, bool blanks)
{
	for (; *text; text++)
		if (*text < ' ' || *text > '~' || (*text == ' ' && !blanks))
			return false;
	return true;
}

/* As bpf/sock_opt.bpf.h does it for setsockopt(). */
static int read_label(const char *word, struct kcm_sk_label *label)
{
	const char *equals = strchr(word, '='), *why = NULL;
	size_t n = equals ? (size_t)(equals - word) : strlen(word);

	memset(label, 0, sizeof(*label));
	if (!equals)
		why = "it has no '='";
	else if (!n)
		why = "it has no key";
	else if (n >= sizeof(label->key))
		why = "a key has at most 11 bytes";
	else if (strlen(equals + 1) >= sizeof(label->value))
		why = "a value has at most 19 bytes";
	if (!why) {
		memcpy(label->key, word, n);
		memcpy(label->value, equals + 1, strlen(equals + 1));
		if (!printable(label->key, false) || !printable(label->value, true))
			why = "printable ASCII only, and no blank in a key";
	}
	if (!why)
		return 0;
	return report(PROBLEM(.code = KCM_EXIT_USAGE, .where = "label", .why = why,
			      .next = "tenant=acme, or tenant= to remove it"),
		      "bad label '%s'", word);
}

/* A condition that is written like a label: port=80. And the value of `label tenant=acme`. */
static bool is_filter(char *const *words, int at)
{
	size_t n = strcspn(words[at], "=");

	if (at && streq(words[at - 1], "label"))
		return true;
	return !words[at][n] || words[at][strcspn(words[at], " <>!")] ||
	       sock_field_find(words[at], n);
}

/* The labels are the last words, or what is behind `set`. Return: how many words are conditions. */
static int split(char *const *words, int n, int *first)
{
	for (int i = 0; i < n; i++)
		if (streq(words[i], "set")) {
			*first = i + 1;
			return i;
		}
	*first = n;
	while (*first > 0 && !is_filter(words, *first - 1))
		--*first;
	return *first;
}

static int read_words(const struct cmd_args *args, struct sock_filter *f, struct labels *l)
{
	int first, conditions = split(args->pos, args->npos, &first), code;

	if (!conditions || first == args->npos)
		return report(
			PROBLEM(.code = KCM_EXIT_USAGE, .where = "label",
				.why = conditions ? "no label is given" : "no socket is given",
				.next = "kcmtool sock label port 80 tenant=acme"),
			"cannot label");
	if (args->npos - first > SOCK_VALUES)
		return report(PROBLEM(.code = KCM_EXIT_USAGE, .where = "label",
				      .why = "16 in one command, and a socket has at most 4",
				      .next = "kcmtool sock label --help"),
			      "too many labels");
	for (l->n = 0; first + l->n < args->npos; l->n++) {
		code = read_label(args->pos[first + l->n], &l->label[l->n]);
		if (code)
			return code;
	}
	return sock_filter_parse(f, args->pos, conditions);
}

/* ---- sockets ---- */

static const struct sock_value *only_cookie(const struct sock_filter *f)
{
	const struct sock_term *t = &f->term[0];

	return f->n == 1 && t->field->id == SOCK_F_COOKIE && t->op == SOCK_EQ && !t->negate
		       ? t->value
		       : NULL;
}

/* A cookie is enough to find a socket by: nothing has to be looked through. */
static int take_cookies(const struct sock_view *v, const struct sock_filter *f, __u64 **cookies,
			size_t *n)
{
	const struct sock_value *by_cookie = only_cookie(f);
	struct sock_list l = { 0 };
	int err = by_cookie ? 0 : sock_list_take(&l, v, f, sock_which(f));

	if (err)
		return err;
	*n = by_cookie ? f->term[0].n : l.n;
	*cookies = calloc(*n ? *n : 1, sizeof(**cookies));
	for (size_t i = 0; *cookies && i < *n; i++)
		(*cookies)[i] = by_cookie ? by_cookie[i].num : l.sock[i].cookie;
	sock_list_free(&l);
	return *cookies ? 0 : -ENOMEM;
}

struct count {
	size_t labelled, full, gone, busy;
};

static int set_all(struct sock_change *c, const __u64 *cookies, size_t n, const struct labels *l,
		   struct count *count)
{
	_cleanup_free_ int *result = calloc(n, sizeof(*result)), *worst = NULL;
	int err = 0;

	worst = calloc(n, sizeof(*worst));
	if (!result || !worst)
		return -ENOMEM;
	for (int i = 0; i < l->n && !err; i++) {
		err = sock_change_label(c, cookies, result, n, &l->label[i]);
		for (size_t k = 0; k < n; k++)
			worst[k] = worst[k] ? worst[k] : result[k];
	}
	for (size_t k = 0; k < n; k++) {
		count->labelled += !worst[k];
		count->full += worst[k] == -ENOSPC;
		count->gone += worst[k] == -ENOENT;
		count->busy += worst[k] && worst[k] != -ENOSPC && worst[k] != -ENOENT;
	}
	return err;
}

static int outcome(const struct cmd_args *args, const struct count *c, size_t n)
{
	if (!n || c->gone == n)
		return report(PROBLEM(.code = KCM_EXIT_FAILED, .where = "label",
				      .why = n ? "it is closed, or nothing is known of it"
					       : "no socket is like that",
				      .next = "kcmtool sock show"),
			      n ? "cannot label: no such socket" : "nothing to label");
	out_u64(args->out, "labelled", c->labelled);
	out_u64(args->out, "gone", c->gone);
	out_u64(args->out, "full", c->full);
	if (c->full)
		return report(PROBLEM(.code = KCM_EXIT_FAILED, .where = "label",
				      .why = "a socket has at most 4 labels",
				      .next = "remove one: KEY="),
			      "%zu of %zu sockets have no room for it", c->full, n);
	if (c->busy)
		return report(PROBLEM(.code = KCM_EXIT_FAILED, .where = "label",
				      .why = "others change their labels all the time",
				      .next = "again"),
			      "%zu of %zu sockets are not labelled", c->busy, n);
	return 0;
}

int sock_label(const struct cmd_args *args)
{
	struct sock_filter f = { 0 };
	struct labels labels = { 0 };
	struct sock_view v;
	struct sock_change *c = NULL;
	struct count count = { 0 };
	_cleanup_free_ __u64 *cookies = NULL;
	size_t n = 0;
	char why[160] = "";
	int err, code = read_words(args, &f, &labels);

	code = code ?: sock_open(&v, true);
	if (code)
		return code;
	err = take_cookies(&v, &f, &cookies, &n);
	if (!err && n)
		err = sock_change_open(&c, &v, (__u32)n, why, sizeof(why));
	if (!err && n)
		err = set_all(c, cookies, n, &labels, &count);
	if (!err && v.ctl->rules) /* limits for sockets that have such a label */
		err = sock_rules_apply(&v, why, sizeof(why));
	sock_change_close(c);
	sock_view_close(&v);
	if (err)
		return *why ? report(PROBLEM(.err = err, .where = "label", .why = why,
					     .next = "kcmtool -v sock label ..., kcmtool doctor"),
				     "cannot label")
			    : sock_report(err, "cannot label");
	return outcome(args, &count, n);
}
