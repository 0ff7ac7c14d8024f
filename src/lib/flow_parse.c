// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* flow_parse.c - files of policies. */
#include <errno.h>
#include <fcntl.h>
#include "flow_parse_part.h"
#include "flow_text.h"
#include "suggest.h"

struct parse {
	struct flow_set *set;
	const char *file; /* in messages; NULL: nothing is, and lists are not read */
	char *dir;	  /* that names of lists are relative to */
	size_t room;	  /* in set->policy */
	uint32_t default_line;
	uint32_t list_line[FLOW_LISTS];
	struct flow_errors errors;
	struct flow_policy_parse pp;
	struct flow_reader reader;
};

void flow_set_free(struct flow_set *set)
{
	for (size_t i = 0; i < set->lists; i++) {
		free(set->list[i].path);
		free(set->list[i].prefix);
	}
	free(set->policy);
	memset(set, 0, sizeof(*set));
}

#define wrong(p, ...) flow_error(&(p)->errors, (p)->file, (p)->reader.line, __VA_ARGS__)

/* ---- lists ---- */

/* A set may be saved elsewhere: where its lists are does not depend on where it is. */
static char *absolute(const struct parse *p, const char *path)
{
	char *whole;

	if (*path == '/' || !p->dir)
		return strdup(path);
	return asprintf(&whole, "%s/%s", p->dir, path) < 0 ? NULL : whole;
}

static int read_list(struct parse *p, struct flow_list *list)
{
	int err;

	if (!p->file)
		return 0;
	err = flow_list_read(list, list->path, &p->errors);
	if (err == -ENOMEM)
		return err;
	if (err && err != -EINVAL)
		wrong(p, "list '%s': %s: %s; allowed: a file of addresses, one a line", list->name,
		      list->path, strerror(-err));
	return 0;
}

static bool list_is_new(struct parse *p, const char *name)
{
	const struct flow_set *set = p->set;

	for (size_t i = 0; i < set->lists; i++) {
		if (!streq(set->list[i].name, name))
			continue;
		wrong(p, "list '%s' is also in line %u; allowed: once", name, p->list_line[i]);
		return false;
	}
	if (set->lists < FLOW_LISTS)
		return true;
	wrong(p, "list '%s' is one too many; allowed: %d", name, FLOW_LISTS);
	return false;
}

static int parse_list(struct parse *p, struct flow_words *w)
{
	const char *name = flow_words_next(w), *path = flow_words_next(w);
	struct flow_list *list = &p->set->list[p->set->lists];

	if (!path || !*path || flow_words_next(w)) {
		wrong(p, "a list has a name and a file; allowed: list NAME FILE");
		return 0;
	}
	if (!flow_name_ok(name)) {
		wrong(p,
		      "'%.40s' is no name; allowed: a letter, then up to %d of letters, digits and "
		      ". _ -",
		      name, FLOW_NAME - 2);
		return 0;
	}
	if (!list_is_new(p, name))
		return 0;
	memset(list, 0, sizeof(*list));
	list->path = absolute(p, path);
	if (!list->path)
		return -ENOMEM;
	if (strpbrk(list->path, "\"\n")) {
		wrong(p, "file '%s' has a \" or a line's end in its name; allowed: any other",
		      list->path);
		free(list->path);
		return 0;
	}
	strcpy(list->name, name);
	p->list_line[p->set->lists++] = p->reader.line;
	return read_list(p, list);
}

/* ---- lines ---- */

static void parse_default(struct parse *p, struct flow_words *w)
{
	const char *word = flow_words_next(w);
	bool drop = word && streq(word, "drop");

	if (!word || !(drop || streq(word, "pass")) || flow_words_next(w)) {
		wrong(p, "bad default; allowed: default pass, default drop");
		return;
	}
	if (p->default_line) {
		wrong(p, "the default is also in line %u; allowed: once", p->default_line);
		return;
	}
	p->default_line = p->reader.line;
	p->set->default_action = drop ? FLOW_DROP : FLOW_PASS;
}

static int parse_policy(struct parse *p, const char *text)
{
	struct flow_set *set = p->set;

	if (set->n == p->room) {
		size_t more = p->room ? p->room * 2 : 64;
		struct flow_policy *policy = reallocarray(set->policy, more, sizeof(*policy));

		if (!policy)
			return -ENOMEM;
		set->policy = policy;
		p->room = more;
	}
	p->pp.p = &set->policy[set->n];
	if (flow_policy_parse(&p->pp, text)) {
		wrong(p, "%s", p->pp.w.why);
		return 0;
	}
	set->policy[set->n++].line = p->file ? p->reader.line : 0;
	return 0;
}

static int parse_line(struct parse *p, const char *text)
{
	static const char *const words[] = { "list", "default" };
	struct flow_words *w = &p->pp.w;
	const char *word, *near;

	/* A policy, as nearly all lines are. */
	text += strspn(text, " \t");
	if (*text >= '0' && *text <= '9')
		return parse_policy(p, text);
	if (flow_words_cut(w, text)) {
		wrong(p, "%s", w->why);
		return 0;
	}
	word = flow_words_next(w);
	if (!word)
		return 0;
	if (streq(word, "list"))
		return parse_list(p, w);
	if (streq(word, "default")) {
		parse_default(p, w);
		return 0;
	}
	near = suggest(word, words, ARRAY_LEN(words));
	if (near)
		wrong(p, "'%.40s' begins no line; did you mean '%s'?", word, near);
	else
		wrong(p, "'%.40s' begins no line; allowed: PRIO of a policy, list, default", word);
	return 0;
}

static int parse_lines(struct parse *p)
{
	char *text;
	int err;

	while ((err = flow_reader_line(&p->reader, &text))) {
		if (err == -E2BIG)
			wrong(p, "more than %d characters in a line; allowed: fewer",
			      FLOW_LINE - 1);
		else if (err == -EILSEQ)
			wrong(p, "a NUL byte; allowed: text");
		else if (err < 0 || (err = parse_line(p, text)))
			return err;
	}
	return 0;
}

/* ---- what is between lines ---- */

static int by_prio(const void *a, const void *b)
{
	const struct flow_policy *x = a, *y = b;

	if (x->prio != y->prio)
		return x->prio < y->prio ? -1 : 1;
	return x->line < y->line ? -1 : x->line > y->line;
}

static int by_name(const void *a, const void *b)
{
	const struct flow_policy *x = *(const struct flow_policy *const *)a;
	const struct flow_policy *y = *(const struct flow_policy *const *)b;
	int order = strcmp(x->name, y->name);

	return order ?: x->line < y->line ? -1 : x->line > y->line;
}

static int check_names(struct parse *p)
{
	struct flow_set *set = p->set;
	_cleanup_free_ const struct flow_policy **named = calloc(set->n + 1, sizeof(*named));
	size_t n = 0;

	if (!named)
		return -ENOMEM;
	for (size_t i = 0; i < set->n; i++)
		if (set->policy[i].name[0])
			named[n++] = &set->policy[i];
	qsort(named, n, sizeof(*named), by_name);
	for (size_t i = 1; i < n; i++)
		if (streq(named[i]->name, named[i - 1]->name))
			flow_error(&p->errors, p->file, named[i]->line,
				   "the name '%s' is also in line %u; allowed: once",
				   named[i]->name, named[i - 1]->line);
	return 0;
}

static bool sorted(const struct flow_set *set)
{
	for (size_t i = 1; i < set->n; i++)
		if (set->policy[i].prio < set->policy[i - 1].prio)
			return false;
	return true;
}

static int parse_set(struct parse *p)
{
	int err = parse_lines(p);

	err = err ?: check_names(p);
	if (err)
		return err;
	/* Without line numbers it is in order, or has none. */
	if (p->file && !sorted(p->set))
		qsort(p->set->policy, p->set->n, sizeof(*p->set->policy), by_prio);
	return p->errors.n ? -EINVAL : 0;
}

/* ---- from outside ---- */

static struct parse *parse_new(struct flow_set *set, char **text, size_t *bytes)
{
	struct parse *p = calloc(1, sizeof(*p));

	memset(set, 0, sizeof(*set));
	*text = NULL;
	if (!p)
		return NULL;
	p->set = set;
	p->pp.set = set;
	p->reader.fd = -1;
	p->errors.out = open_memstream(text, bytes);
	if (p->errors.out)
		return p;
	free(p);
	return NULL;
}

/* The messages are whole after this. */
static int parse_end(struct parse *p, int err, char **text)
{
	size_t n = p->errors.n;

	if (n > FLOW_ERRORS)
		fprintf(p->errors.out, "%s: %zu more errors, %zu in all\n", p->file,
			n - FLOW_ERRORS, n);
	if (fclose(p->errors.out))
		err = -ENOMEM;
	if (!n || err != -EINVAL) {
		free(*text);
		*text = NULL;
	}
	free(p->dir);
	free(p);
	return err;
}

/* Where @path is, without its last name. */
static char *dir_of(const char *path)
{
	_cleanup_free_ char *copy = strdup(path);
	char *slash = copy ? strrchr(copy, '/') : NULL;

	if (!copy)
		return NULL;
	if (slash)
		slash[slash == copy] = '\0';
	return realpath(slash ? copy : ".", NULL);
}

int flow_parse_file(const char *path, struct flow_set *set, char **errors)
{
	bool is_stdin = streq(path, "-");
	_cleanup_fd_ int fd = -1;
	size_t bytes;
	struct parse *p = parse_new(set, errors, &bytes);

	if (!p)
		return -ENOMEM;
	p->file = is_stdin ? "stdin" : path;
	if (!is_stdin) {
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
		if (fd < 0)
			return parse_end(p, -errno, errors);
	}
	p->dir = dir_of(is_stdin ? "" : path);
	if (!p->dir)
		return parse_end(p, -errno, errors);
	p->reader.fd = is_stdin ? STDIN_FILENO : fd;
	return parse_end(p, parse_set(p), errors);
}

int flow_text_read(const char *text, size_t bytes, struct flow_set *set, char *why, size_t size)
{
	_cleanup_free_ char *errors = NULL;
	size_t errors_bytes;
	struct parse *p = parse_new(set, &errors, &errors_bytes);
	int err;

	if (!p)
		return -ENOMEM;
	p->reader.mem = text;
	p->reader.mem_left = bytes;
	err = parse_end(p, parse_set(p), &errors);
	if (err == -EINVAL && errors)
		snprintf(why, size, "%.*s", (int)strcspn(errors, "\n"), errors);
	else if (err)
		snprintf(why, size, "%s", strerror(-err));
	return err;
}
