// SPDX-License-Identifier: GPL-2.0
/* From a command line to the entry of the command table that runs it. */
#include <errno.h>
#include "cmd.h"
#include "lib/suggest.h"
#include "feature.h"
#include "system.h"

#define CMD_WORDS 128

const struct cmd *const *cmd_tables(void)
{
	static const struct cmd *tables[KCM_SYSTEMS_MAX + 2] = { core_cmds };
	size_t n = 1;

	for (const struct kcm_system *const *s = kcm_systems; *s; s++)
		tables[n++] = (*s)->cmds;
	return tables;
}

const char *cmd_object_help(const char *object)
{
	for (const struct kcm_system *const *s = kcm_systems; *s; s++)
		if (streq((*s)->name, object))
			return (*s)->help;
	return NULL;
}

bool cmd_is_object(const char *name)
{
	return cmd_object_help(name) != NULL;
}

static const struct cmd *find(const char *object, const char *verb)
{
	cmd_for_each (c)
		if (streq(c->verb, verb) &&
		    (object ? c->object && streq(c->object, object) : !c->object))
			return c;
	return NULL;
}

const struct cmd *cmd_find(const char *object, const char *verb)
{
	const struct cmd *c = find(object, verb);

	/* As with ip: `list` is `show` where it is nothing else. */
	return c || !object || !streq(verb, "list") ? c : find(object, "show");
}

static int unknown(const char *object, const char *word)
{
	const char *words[CMD_WORDS], *near;
	size_t n = 0;
	char next[96];

	cmd_for_each (c)
		if (n < CMD_WORDS && (object ? c->object && streq(c->object, object) : !c->object))
			words[n++] = c->verb;
	for (const struct kcm_system *const *s = kcm_systems; !object && *s && n < CMD_WORDS; s++)
		words[n++] = (*s)->name;
	near = suggest(word, words, n);
	snprintf(next, sizeof(next), "kcmtool %s%s%s", object ? object : "", object ? " " : "",
		 near ? near : "help");
	if (object)
		return report(PROBLEM(.code = KCM_EXIT_USAGE, .next = next),
			      "unknown command '%s %s'", object, word);
	return report(PROBLEM(.code = KCM_EXIT_USAGE, .next = next),
		      *word == '-' ? "unknown option '%s'" : "unknown command '%s'", word);
}

static int run_handler(const struct cmd *cmd, char **argv, const struct cmd_globals *g)
{
	_cleanup_(args_free) struct cmd_args args = { 0 };
	int code = args_parse(cmd, argv, &args), err;

	if (code)
		return code;
	code = feature_check_caps(cmd);
	if (code)
		return code;
	args.out = out_new(stdout, g->format);
	if (!args.out)
		return report(PROBLEM(.err = ENOMEM), "cannot prepare output");
	code = cmd->run(&args);
	if (code)
		log_libbpf_show();
	err = out_finish(args.out);
	/* A reader that had enough, as in `| head`, is no failure. */
	if (err && err != -EPIPE && !code)
		code = report(PROBLEM(.err = err), "cannot write output");
	return code;
}

int cmd_run(int argc, char **argv)
{
	struct cmd_globals g = { .format = OUT_TEXT };
	const char *object = NULL, *verb;
	const struct cmd *cmd;

	(void)argc;
	cmd_globals_take(argv, &g);
	log_init(g.verbose);
	if (g.version)
		argv[0] = NULL;
	verb = g.version ? "version" : *argv;
	if (!verb) {
		help_all(g.help ? stdout : stderr);
		return g.help ? 0 : KCM_EXIT_USAGE;
	}
	if (*argv)
		argv++;
	if (cmd_is_object(verb)) {
		object = verb;
		if ((!*argv && g.help) || (*argv && streq(*argv, "help"))) {
			help_object(stdout, object);
			return 0;
		}
		verb = *argv ? *argv++ : "show";
	}
	cmd = cmd_find(object, verb);
	if (!cmd)
		return unknown(object, verb);
	if (g.help) {
		help_cmd(stdout, cmd);
		return 0;
	}
	return run_handler(cmd, argv, &g);
}
