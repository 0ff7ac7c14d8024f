// SPDX-License-Identifier: GPL-2.0
/* Words of the command line to conditions. */
#include <ctype.h>
#include <errno.h>
#include <time.h>
#include "cmd.h"
#include "lib/suggest.h"
#include "cmd_sock_value.h"

/* What is still to be read: the rest of a word, and words. */
struct reader {
	char *const *words;
	int n, at;
	const char *p; /* in words[at] */
	struct sock_wrong wrong;
};

/* At the next character that is no blank. False: there is none. */
static bool more(struct reader *r)
{
	while (r->at < r->n) {
		r->p += strspn(r->p, " \t");
		if (*r->p)
			return true;
		if (++r->at < r->n)
			r->p = r->words[r->at];
	}
	return false;
}

static bool word_is(struct reader *r, const char *word)
{
	size_t n = strlen(word);

	if (strncmp(r->p, word, n) || (r->p[n] && r->p[n] != ' '))
		return false;
	r->p += n;
	return true;
}

static enum sock_op read_op(struct reader *r, bool *given)
{
	static const struct {
		const char *text;
		enum sock_op op;
	} ops[] = { { "==", SOCK_EQ }, { "!=", SOCK_NE }, { "<=", SOCK_LE }, { ">=", SOCK_GE },
		    { "=", SOCK_EQ },  { "<", SOCK_LT },  { ">", SOCK_GT } },
	  words[] = { { "eq", SOCK_EQ }, { "ne", SOCK_NE }, { "lt", SOCK_LT },
		      { "le", SOCK_LE }, { "gt", SOCK_GT }, { "ge", SOCK_GE } };

	*given = true;
	for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
		if (strncmp(r->p, ops[i].text, strlen(ops[i].text)))
			continue;
		r->p += strlen(ops[i].text);
		return ops[i].op;
	}
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (word_is(r, words[i].text))
			return words[i].op;
	*given = false;
	return SOCK_EQ;
}

/* A word of its own is a value as it is; behind something else, one ends at a blank. */
static void read_value(struct reader *r, char *text, size_t size)
{
	size_t n = r->p == r->words[r->at] ? strlen(r->p) : strcspn(r->p, " \t");

	snprintf(text, size, "%.*s", (int)n, r->p);
	r->p += n;
}

static bool ordered(enum sock_kind kind)
{
	return kind <= SOCK_KIND_PORT;
}

/* `tenant=gold`, `tenant!=gold`, `tenant = gold`: the operator stands behind the key. */
static int read_label_op(struct reader *r, struct sock_term *t, char *text, size_t size)
{
	char *equals = strchr(text, '=');
	size_t n = strlen(text);
	enum sock_op op;
	bool given;

	if (equals && equals > text && equals[-1] == '!') {
		memmove(equals - 1, equals, strlen(equals) + 1);
		t->op = SOCK_NE;
	}
	if (equals || !more(r))
		return 0;
	op = read_op(r, &given);
	if (!given)
		return 0;
	if (op > SOCK_NE || !more(r))
		return sock_wrong(&r->wrong, "labels are equal to a value, or not",
				  t->field->example, "bad condition for '%s'", t->field->name);
	t->op = op;
	if (n + 2 > size)
		return sock_wrong(&r->wrong, "it is too long", t->field->example,
				  "bad value for '%s'", t->field->name);
	text[n] = '=';
	read_value(r, text + n + 1, size - n - 1);
	return 0;
}

static int read_values(struct reader *r, struct sock_term *t)
{
	const struct sock_field *f = t->field;
	char text[256], *save = NULL;

	if (!more(r))
		return sock_wrong(&r->wrong, "it needs a value", f->example, "no value for '%s'",
				  f->name);
	read_value(r, text, sizeof(text));
	if (f->kind == SOCK_KIND_LABEL) {
		int err = read_label_op(r, t, text, sizeof(text));

		if (err)
			return err;
	}
	for (char *one = strtok_r(text, ",", &save); one; one = strtok_r(NULL, ",", &save)) {
		int err;

		if (t->n == SOCK_VALUES)
			return sock_wrong(&r->wrong, "too many values", "fewer than 17",
					  "bad value for '%s'", f->name);
		err = sock_value_read(f, one, &t->value[t->n], &r->wrong);
		if (err)
			return err;
		t->n++;
	}
	if (!t->n)
		return sock_wrong(&r->wrong, "it needs a value", f->example, "no value for '%s'",
				  f->name);
	if (t->n > 1 && t->op > SOCK_NE)
		return sock_wrong(&r->wrong, "one value only", f->example, "bad condition for '%s'",
				  f->name);
	return 0;
}

static int unknown(struct reader *r, const char *name)
{
	const char *names[2 * SOCK_F_COUNT], *near;
	size_t n = 0;

	for (size_t i = 0; i < SOCK_F_COUNT; i++) {
		names[n++] = sock_fields[i].name;
		if (sock_fields[i].alias)
			names[n++] = sock_fields[i].alias;
	}
	near = suggest(name, names, n);
	return sock_wrong(&r->wrong, NULL, near ? near : "kcmtool sock fields",
			  "unknown filter '%s'", name);
}

static int read_term(struct reader *r, struct sock_term *t)
{
	char name[64];
	size_t n;
	bool given;

	memset(t, 0, sizeof(*t));
	while (word_is(r, "not") || word_is(r, "!")) {
		t->negate = !t->negate;
		if (!more(r))
			return sock_wrong(&r->wrong, NULL, "not adopted", "nothing behind 'not'");
	}
	n = strspn(r->p, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-");
	snprintf(name, sizeof(name), "%.*s", (int)n, r->p);
	if (isdigit((unsigned char)*name)) { /* alone, the best name a socket has */
		t->field = sock_field_find("cookie", 6);
		return read_values(r, t);
	}
	for (char *p = name; *p; p++)
		*p = *p == '-' ? '_' : *p;
	t->field = sock_field_find(name, strlen(name));
	if (!t->field || !n) {
		snprintf(name, sizeof(name), "%.*s", (int)strcspn(r->p, " \t"), r->p);
		return unknown(r, name);
	}
	r->p += n;
	if (t->field->kind == SOCK_KIND_FLAG)
		return 0;
	if (!more(r))
		return sock_wrong(&r->wrong, "it needs a value", t->field->example,
				  "no value for '%s'", t->field->name);
	t->op = read_op(r, &given);
	if (t->op > SOCK_NE && !ordered(t->field->kind))
		return sock_wrong(&r->wrong, "it is equal or not", t->field->example,
				  "bad condition for '%s'", t->field->name);
	return read_values(r, t);
}

static int parse(struct sock_filter *f, struct reader *r)
{
	f->n = 0;
	f->now_ns = 0;
	if (r->n)
		r->p = r->words[0];
	while (more(r)) {
		int err;

		if (f->n && word_is(r, "and"))
			continue;
		if (f->n == SOCK_TERMS)
			return sock_wrong(&r->wrong, "too many of them", "16 at most",
					  "cannot filter");
		err = read_term(r, &f->term[f->n]);
		if (err)
			return err;
		f->n++;
	}
	return 0;
}

int sock_filter_parse_quiet(struct sock_filter *f, char *const *words, int n, char *err,
			    size_t size)
{
	struct reader r = { .words = words, .n = n };
	struct timespec ts;

	if (parse(f, &r)) {
		snprintf(err, size, "%s%s%s; try: %s", r.wrong.what, *r.wrong.why ? ": " : "",
			 r.wrong.why, r.wrong.next);
		return -EINVAL;
	}
	clock_gettime(CLOCK_MONOTONIC, &ts);
	f->now_ns = (uint64_t)ts.tv_sec * 1000000000ULL + (uint64_t)ts.tv_nsec;
	return 0;
}

int sock_filter_parse(struct sock_filter *f, char *const *words, int n)
{
	struct reader r = { .words = words, .n = n };
	struct timespec ts;

	if (parse(f, &r))
		return report(
			PROBLEM(.code = KCM_EXIT_USAGE, .why = *r.wrong.why ? r.wrong.why : NULL,
				.where = *r.wrong.why ? "filter" : NULL, .next = r.wrong.next),
			"%s", r.wrong.what);
	clock_gettime(CLOCK_MONOTONIC, &ts);
	f->now_ns = (uint64_t)ts.tv_sec * 1000000000ULL + (uint64_t)ts.tv_nsec;
	return 0;
}
