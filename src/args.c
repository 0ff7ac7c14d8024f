// SPDX-License-Identifier: GPL-2.0
/* One command line, checked against the entry of the command table. */
#include <ctype.h>
#include <errno.h>
#include "cmd.h"
#include "lib/suggest.h"

static bool take_letters(const char *word, struct cmd_globals *g)
{
	if (word[0] != '-' || !word[1] || word[1 + strspn(word + 1, "jpvhV")])
		return false;
	if (strchr(word, 'p'))
		g->format = OUT_JSON_PRETTY;
	else if (strchr(word, 'j') && g->format == OUT_TEXT)
		g->format = OUT_JSON;
	g->verbose |= strchr(word, 'v') != NULL;
	g->help |= strchr(word, 'h') != NULL;
	g->version |= strchr(word, 'V') != NULL;
	return true;
}

int cmd_globals_take(char **argv, struct cmd_globals *g)
{
	static const char *const names[][2] = { { "--json", "-j" },
						{ "--pretty", "-p" },
						{ "--verbose", "-v" },
						{ "--help", "-h" },
						{ "--version", "-V" } };
	char **to = argv;

	for (char **from = argv; *from; from++) {
		const char *word = *from;

		if (streq(word, "--")) {
			while (*from)
				*to++ = *from++;
			break;
		}
		for (size_t i = 0; i < ARRAY_LEN(names); i++)
			if (streq(word, names[i][0]))
				word = names[i][1];
		if (!take_letters(word, g))
			*to++ = *from;
	}
	*to = NULL;
	return to - argv;
}

/* How many positional arguments the synopsis allows. */
static void arity(const char *synopsis, int *min, int *max)
{
	*min = *max = 0;
	for (const char *p = synopsis; p && *p;) {
		size_t n = strcspn(p, " ");

		if (n == 2 && !strncmp(p, "--", 2))
			return;
		if (*p != '[')
			++*min;
		if (n > 3 && !strncmp(p + n - 3, "...", 3))
			*max = INT32_MAX;
		else if (*max != INT32_MAX)
			++*max;
		p += n + strspn(p + n, " ");
	}
}

static int opt_index(const struct cmd *cmd, const char *name, size_t len, bool dashed)
{
	for (int i = 0; cmd->opts && cmd->opts[i].name; i++) {
		const struct cmd_opt *o = &cmd->opts[i];

		if (strlen(o->name) == len && !strncmp(o->name, name, len) &&
		    (dashed || !o->dashed))
			return i;
	}
	return -1;
}

static int opt_letter(const struct cmd *cmd, const char *word)
{
	for (int i = 0; cmd->opts && cmd->opts[i].name; i++)
		if (cmd->opts[i].letter && cmd->opts[i].letter == word[1] && !word[2])
			return i;
	return -1;
}

static int usage(const struct cmd *cmd, const char *near, const char *what, const char *word)
{
	char next[128];

	if (near)
		snprintf(next, sizeof(next), "%s", near);
	else
		snprintf(next, sizeof(next), "kcmtool %s%s%s --help",
			 cmd->object ? cmd->object : "", cmd->object ? " " : "", cmd->verb);
	return report(PROBLEM(.code = KCM_EXIT_USAGE, .next = next), "%s '%s'", what, word);
}

static int unknown(const struct cmd *cmd, const char *word)
{
	const char *names[CMD_OPTS];
	char near[80];
	size_t n = 0;
	const char *found;
	const char *bare = word + strspn(word, "-");

	for (; cmd->opts && cmd->opts[n].name; n++)
		names[n] = cmd->opts[n].name;
	found = suggest(bare, names, n);
	if (found)
		snprintf(near, sizeof(near), "%s%s", *word == '-' ? "--" : "", found);
	return usage(cmd, found ? near : NULL,
		     *word == '-' ? "unknown option" : "unexpected argument", word);
}

/* Take option @i; its value is the next word, or @inline_value. Returns words used or < 0. */
static int take_option(const struct cmd *cmd, struct cmd_args *args, int i, char **argv,
		       const char *inline_value)
{
	const struct cmd_opt *o = &cmd->opts[i];
	const char *value;

	if (args->opt[i] && !o->many)
		return -usage(cmd, NULL, "given twice: option", o->name);
	if (!o->value) {
		if (inline_value)
			return -usage(cmd, NULL, "no value is allowed for option", o->name);
		args->opt[i] = "";
		return 1;
	}
	value = inline_value ? inline_value : argv[1];
	if (!value || (!inline_value && streq(value, "--")))
		return -usage(cmd, NULL, "no value for option", o->name);
	if (args->opt[i])
		args->more[args->n_more++] = (struct cmd_more){ i, value };
	else
		args->opt[i] = value;
	return inline_value ? 1 : 2;
}

static int take_word(const struct cmd *cmd, struct cmd_args *args, char **argv, int min, int max)
{
	char *word = *argv;
	int i;

	if (!strncmp(word, "--", 2)) {
		char *equals = strchr(word, '=');
		size_t len = equals ? (size_t)(equals - word) - 2 : strlen(word) - 2;

		i = opt_index(cmd, word + 2, len, true);
		return i < 0 ? -unknown(cmd, word)
			     : take_option(cmd, args, i, argv, equals ? equals + 1 : NULL);
	}
	if (*word == '-' && word[1] && !isdigit((unsigned char)word[1])) {
		i = opt_letter(cmd, word);
		return i < 0 ? -unknown(cmd, word) : take_option(cmd, args, i, argv, NULL);
	}
	/* What must be given comes first, so that a name may look like an option. */
	i = args->npos >= min ? opt_index(cmd, word, strlen(word), false) : -1;
	if (i >= 0)
		return take_option(cmd, args, i, argv, NULL);
	if (args->npos >= max)
		return -unknown(cmd, word);
	args->pos[args->npos++] = word;
	return 1;
}

int args_parse(const struct cmd *cmd, char **argv, struct cmd_args *args)
{
	int min, max, used, n = 0;

	arity(cmd->args, &min, &max);
	while (argv[n])
		n++;
	args->cmd = cmd;
	args->pos = calloc(n + 1, sizeof(*args->pos));
	args->more = calloc(n + 1, sizeof(*args->more));
	if (!args->pos || !args->more)
		return report(PROBLEM(.err = ENOMEM), "cannot read the arguments");
	for (; *argv; argv += used) {
		if (streq(*argv, "--")) {
			if (!cmd->args || !strstr(cmd->args, "-- "))
				return usage(cmd, NULL, "unexpected argument", "--");
			args->rest = argv[1] ? argv + 1 : NULL;
			break;
		}
		used = take_word(cmd, args, argv, min, max);
		if (used < 0)
			return -used;
	}
	if (args->npos < min)
		return usage(cmd, NULL, "missing argument: expected", cmd->args);
	if (!args->rest && cmd->args && strstr(cmd->args, "-- ") && !strstr(cmd->args, "[--"))
		return usage(cmd, NULL, "missing program after", "--");
	for (int i = 0; cmd->opts && cmd->opts[i].name; i++)
		if (cmd->opts[i].required && !args->opt[i])
			return usage(cmd, NULL, "missing option", cmd->opts[i].name);
	return 0;
}

void args_free(struct cmd_args *args)
{
	free(args->pos);
	free(args->more);
	args->pos = NULL;
	args->more = NULL;
}

const char *args_str(const struct cmd_args *args, const char *name, const char *otherwise)
{
	int i = opt_index(args->cmd, name, strlen(name), true);

	if (i < 0)
		abort(); /* a handler asks for what its table entry does not have */
	return args->opt[i] ? args->opt[i] : otherwise;
}

bool args_flag(const struct cmd_args *args, const char *name)
{
	return args_str(args, name, NULL) != NULL;
}

size_t args_all(const struct cmd_args *args, const char *name, const char **values, size_t max)
{
	const char *first = args_str(args, name, NULL);
	size_t n = 0;

	if (!first)
		return 0;
	if (n++ < max)
		values[0] = first;
	for (size_t i = 0; i < args->n_more; i++) {
		if (!streq(args->cmd->opts[args->more[i].opt].name, name))
			continue;
		if (n < max)
			values[n] = args->more[i].value;
		n++;
	}
	return n;
}

bool str_to_u64(const char *text, uint64_t *value)
{
	static const char suffixes[] = "kMG";
	unsigned long long v;
	uint64_t scale = 1;
	char *end;

	if (!isdigit((unsigned char)*text))
		return false; /* strtoull() takes a sign and blanks */
	errno = 0;
	v = strtoull(text, &end, 0);
	if (errno)
		return false;
	if (*end) {
		const char *s = strchr(suffixes, *end == 'K' ? 'k' : *end);

		if (!s || end[1])
			return false;
		scale <<= 10 * (s - suffixes + 1);
	}
	return !__builtin_mul_overflow((uint64_t)v, scale, value);
}

int args_u64(const struct cmd_args *args, const char *name, uint64_t min, uint64_t max,
	     uint64_t otherwise, uint64_t *value)
{
	const char *text = args_str(args, name, NULL);
	char range[80];

	*value = otherwise;
	if (!text)
		return 0;
	if (str_to_u64(text, value) && *value >= min && *value <= max)
		return 0;
	snprintf(range, sizeof(range), "a number from %llu to %llu", (unsigned long long)min,
		 (unsigned long long)max);
	return report(PROBLEM(.code = KCM_EXIT_USAGE, .where = name,
			      .why = "not in range or no number", .next = range),
		      "bad value '%s'", text);
}
