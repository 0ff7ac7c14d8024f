// SPDX-License-Identifier: GPL-2.0
/* Help texts and synopses, made from the command tables. */
#include "cmd.h"
#include "feature.h"
#include "system.h"

#define HELP_CHOICES 100 /* bytes of a list that is printed with its option */

static const char globals_text[] = "Global options:\n"
				   "  -j, --json      JSON on stdout, with \"schema\": 1\n"
				   "  -p, --pretty    the same, indented\n"
				   "  -v, --verbose   show libbpf's and the verifier's messages\n"
				   "  -h, --help      help for what stands before it\n"
				   "  -V, --version   version\n";

static void option_text(const struct cmd_opt *o, char *text, size_t size)
{
	char letter[8] = "";

	if (o->letter)
		snprintf(letter, sizeof(letter), "-%c, ", o->letter);
	snprintf(text, size, "%s%s%s%s%s", letter, o->dashed ? "--" : "", o->name,
		 o->value ? " " : "", o->value ? o->value : "");
}

/* A long list, as of the fields of a filter, has a command of its own. */
static const char *few_choices(const struct cmd_opt *o)
{
	return o->choices && strlen(o->choices) <= HELP_CHOICES ? o->choices : NULL;
}

void help_synopsis(FILE *f, const struct cmd *c)
{
	const char *program = c->args ? strstr(c->args, "-- ") : NULL;
	int head = program ? (int)(program - c->args) : c->args ? (int)strlen(c->args) : 0;
	char text[80];

	if (program && program > c->args && program[-1] == '[')
		head--;
	while (head && c->args[head - 1] == ' ')
		head--;
	fprintf(f, "kcmtool %s%s%s", c->object ? c->object : "", c->object ? " " : "", c->verb);
	if (head)
		fprintf(f, " %.*s", head, c->args);
	for (const struct cmd_opt *o = c->opts; o && o->name; o++) {
		option_text(o, text, sizeof(text));
		fprintf(f, o->required ? " %s%s" : " [%s]%s", text, o->many ? "..." : "");
	}
	if (program)
		fprintf(f, " %s", c->args + head + strspn(c->args + head, " "));
}

void help_all(FILE *f)
{
	fputs("usage: kcmtool [OPTION]... COMMAND [ARGUMENT]...\n\nCommands:\n", f);
	cmd_for_each (c)
		if (!c->object)
			fprintf(f, "  %-16s%s\n", c->verb, c->help);
	fputs("\nObjects (kcmtool OBJECT help):\n", f);
	for (const struct kcm_system *const *s = kcm_systems; *s; s++)
		fprintf(f, "  %-16s%s\n", (*s)->name, (*s)->help);
	fprintf(f, "\n%s", globals_text);
	fputs("\nExit status: 0 done, 1 failed, 2 usage, 3 kernel lacks it, 4 privilege,\n"
	      "6 configuration, 7 not loaded.\n",
	      f);
}

void help_object(FILE *f, const char *object)
{
	fprintf(f, "%s\n\nusage:\n", cmd_object_help(object));
	cmd_for_each (c) {
		if (!c->object || !streq(c->object, object))
			continue;
		fputs("  ", f);
		help_synopsis(f, c);
		fprintf(f, "\n      %s\n", c->help);
	}
	fprintf(f, "\n%s", globals_text);
}

void help_cmd(FILE *f, const struct cmd *c)
{
	char text[80];

	fputs("usage: ", f);
	help_synopsis(f, c);
	fprintf(f, "\n\n%s\n", c->help);
	if (c->opts && c->opts->name)
		fputs("\nOptions:\n", f);
	for (const struct cmd_opt *o = c->opts; o && o->name; o++) {
		const char *choices = few_choices(o);

		option_text(o, text, sizeof(text));
		fprintf(f, "  %-24s%s%s%s%s\n", text, o->help, choices ? " (" : "",
			choices ? choices : "", choices ? ")" : "");
	}
	if (c->needs) {
		fputs("\nNeeds: ", f);
		feature_list_print(f, c->needs);
		fputs(" (kcmtool doctor)\n", f);
	}
	fprintf(f, "\n%s", globals_text);
}

/* reStructuredText: backslashes keep markup characters of a synopsis literal. */
static void rst_escaped(FILE *f, const char *text)
{
	for (; *text; text++) {
		if (strchr("*`|_\\", *text))
			fputc('\\', f);
		fputc(*text, f);
	}
}

void help_rst(FILE *f, const char *object)
{
	char text[80];

	cmd_for_each (c) {
		_cleanup_free_ char *synopsis = NULL;
		size_t size;
		FILE *m;

		if (object ? !c->object || !streq(c->object, object) : !!c->object)
			continue;
		m = open_memstream(&synopsis, &size);
		if (!m)
			return;
		help_synopsis(m, c);
		fclose(m);
		rst_escaped(f, synopsis);
		fputs("\n    ", f);
		rst_escaped(f, c->help);
		fputs(".\n\n", f);
		for (const struct cmd_opt *o = c->opts; o && o->name; o++) {
			option_text(o, text, sizeof(text));
			fputs("    ", f);
			rst_escaped(f, text);
			fputs("\n        ", f);
			rst_escaped(f, o->help);
			if (few_choices(o)) {
				fputs(": ", f);
				rst_escaped(f, o->choices);
			}
			fputs("\n\n", f);
		}
	}
}
