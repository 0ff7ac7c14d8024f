// SPDX-License-Identifier: GPL-2.0
/* Completion scripts for bash and zsh, made from the command tables. */
#include "cmd.h"
#include "lib/pin.h"
#include "system.h"

static const char globals[] = "-j --json -p --pretty -v --verbose -h --help -V --version";

static void verbs(FILE *f, const char *object)
{
	const char *sep = "";

	cmd_for_each (c) {
		if (object ? !c->object || !streq(c->object, object) : !!c->object)
			continue;
		fprintf(f, "%s%s", sep, c->verb);
		sep = " ";
	}
}

static void systems(FILE *f)
{
	for (const struct kcm_system *const *s = kcm_systems; *s; s++)
		fprintf(f, "%s%s", s == kcm_systems ? "" : " ", (*s)->name);
}

/* What may stand for the positional arguments: words, or a shell command that prints them. */
static void positional(FILE *f, const struct cmd *c)
{
	const char *hint = c->complete;

	if (!hint)
		return;
	if (streq(hint, "@systems")) {
		systems(f);
	} else if (streq(hint, "@commands")) {
		verbs(f, NULL);
		fputc(' ', f);
		systems(f);
	} else if (*hint == '@') {
		fprintf(f, "$(ls " KCM_PIN_ROOT "/%s 2>/dev/null)", hint + 1);
	} else {
		fputs(hint, f);
	}
}

static void options(FILE *f, const struct cmd *c)
{
	for (const struct cmd_opt *o = c->opts; o && o->name; o++) {
		fprintf(f, " %s%s", o->dashed ? "--" : "", o->name);
		if (o->letter)
			fprintf(f, " -%c", o->letter);
	}
}

/* The two shells differ only in how words are fetched and offered. */
static void cases(FILE *f)
{
	fputs("\tcase \"$object $verb $prev\" in\n", f);
	cmd_for_each (c)
		for (const struct cmd_opt *o = c->opts; o && o->name; o++)
			if (o->choices)
				fprintf(f, "\t\"%s %s %s\" | \"%s %s --%s\") words=\"%s\" ;;\n",
					c->object ? c->object : "", c->verb, o->name,
					c->object ? c->object : "", c->verb, o->name, o->choices);
	fputs("\t*)\n\t\tcase \"$object $verb\" in\n", f);
	cmd_for_each (c) {
		fprintf(f, "\t\t\"%s %s\") words=\"", c->object ? c->object : "", c->verb);
		positional(f, c);
		options(f, c);
		fputs("\" ;;\n", f);
	}
	for (const struct kcm_system *const *s = kcm_systems; *s; s++) {
		fprintf(f, "\t\t\"%s \") words=\"", (*s)->name);
		verbs(f, (*s)->name);
		fputs(" help\" ;;\n", f);
	}
	fputs("\t\t\" \") words=\"", f);
	verbs(f, NULL);
	fputc(' ', f);
	systems(f);
	fputs("\" ;;\n\t\tesac ;;\n\tesac\n", f);
}

static void objects_pattern(FILE *f)
{
	for (const struct kcm_system *const *s = kcm_systems; *s; s++)
		fprintf(f, "%s%s", s == kcm_systems ? "" : " | ", (*s)->name);
}

int complete_bash(FILE *f)
{
	fputs("# bash completion for kcmtool; made by `kcmtool completion bash`\n"
	      "_kcmtool()\n{\n"
	      "\tlocal cur=\"${COMP_WORDS[COMP_CWORD]}\" prev=\"${COMP_WORDS[COMP_CWORD - 1]}\"\n"
	      "\tlocal object=\"\" verb=\"\" words=\"\" i\n"
	      "\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
	      "\t\tcase \"${COMP_WORDS[i]}\" in\n"
	      "\t\t-*) ;;\n\t\t",
	      f);
	objects_pattern(f);
	fputs(") [[ -z $object && -z $verb ]] && object=\"${COMP_WORDS[i]}\" && continue ;;&\n"
	      "\t\t*) [[ -z $verb ]] && verb=\"${COMP_WORDS[i]}\" ;;\n"
	      "\t\tesac\n\tdone\n",
	      f);
	cases(f);
	fprintf(f, "\t[[ $cur == -* ]] && words=\"$words %s\"\n", globals);
	fputs("\tmapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n}\n"
	      "complete -F _kcmtool kcmtool\n",
	      f);
	return 0;
}

int complete_zsh(FILE *f)
{
	fputs("#compdef kcmtool\n"
	      "# zsh completion for kcmtool; made by `kcmtool completion zsh`\n"
	      "_kcmtool()\n{\n"
	      "\tlocal cur=\"${words[CURRENT]}\" prev=\"${words[CURRENT - 1]}\"\n"
	      "\tlocal object=\"\" verb=\"\" i\n"
	      "\tlocal -a given=(\"${(@)words}\")\n"
	      "\tlocal words=\"\"\n"
	      "\tfor ((i = 2; i < CURRENT; i++)); do\n"
	      "\t\tcase \"${given[i]}\" in\n"
	      "\t\t-*) continue ;;\n\t\t",
	      f);
	objects_pattern(f);
	fputs(") if [[ -z $object && -z $verb ]]; then object=\"${given[i]}\"; continue; fi ;;\n"
	      "\t\tesac\n"
	      "\t\t[[ -z $verb ]] && verb=\"${given[i]}\"\n"
	      "\tdone\n",
	      f);
	cases(f);
	fprintf(f, "\t[[ $cur == -* ]] && words=\"$words %s\"\n", globals);
	fputs("\tcompadd -- ${=words}\n}\n"
	      "[[ $funcstack[1] == _kcmtool ]] && _kcmtool \"$@\" || compdef _kcmtool kcmtool\n",
	      f);
	return 0;
}
