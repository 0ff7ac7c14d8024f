// SPDX-License-Identifier: GPL-2.0
/*
 * fuzz_verbs.c - any words for every command that there is, and what those mean that are taken
 * apart without a look at the machine. Input: words with a newline behind each; the first two may
 * name the command, otherwise the first byte does. Nothing is run.
 */
#include "../../src/args.c"
#include "cmd.h"
#include "cmd_flow.h"
#include "cmd_mux.h"

#define WORDS 32

static void ensure(bool is)
{
	if (!is)
		abort();
}

static const struct cmd *nth(unsigned int n)
{
	unsigned int count = 0;

	cmd_for_each (c)
		count++;
	n %= count;
	cmd_for_each (c)
		if (!n--)
			return c;
	return NULL;
}

/* What is accepted is what the entry asks for. */
static void check(const struct cmd *cmd, const struct cmd_args *args, int words)
{
	const char *all[WORDS];
	uint64_t n;

	ensure(args->npos <= words && (cmd->args || !args->npos));
	ensure(!args->pos[args->npos]);
	for (int i = 0; i < args->npos; i++)
		ensure(args->pos[i]);
	for (const struct cmd_opt *o = cmd->opts; o && o->name; o++) {
		const char *value = args_str(args, o->name, NULL);

		ensure(value || !o->required);
		if (!value)
			continue;
		ensure(o->value || args_flag(args, o->name));
		n = args_all(args, o->name, all, WORDS);
		ensure(n && all[0] == value && (o->many || n == 1));
		if (o->value && !args_u64(args, o->name, 1, 1000, 0, &n))
			ensure(n >= 1 && n <= 1000);
	}
}

static void meaning(const struct cmd *cmd, const struct cmd_args *args)
{
	struct kcm_mux_opts mux;
	const struct flow_inst none = FLOW_INST_NONE;
	struct flow_want flow;

	if (cmd->opts == flow_filter_opts && !flow_want_take(&flow, args, &none))
		ensure(!flow.has_slot && (!flow.has_src || flow.src.len <= 128));
	if (cmd->object && streq(cmd->object, "mux") && streq(cmd->verb, "create") &&
	    !mux_opts_take(args, &mux))
		ensure(!kcm_frame_check(&mux.frame) && mux.workers <= KCM_WORKERS_MAX);
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	stderr = fopen("/dev/null", "w"); /* usage errors, and there are many */
	return stderr ? 0 : 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *argv[WORDS + 1] = { NULL }, **words = argv;
	_cleanup_free_ char *text = strndup((const char *)data, size);
	struct cmd_globals g = { 0 };
	struct cmd_args args = { 0 };
	const struct cmd *cmd = NULL;
	int n = 0;

	if (!size || !text)
		return 0;
	for (char *p = strtok(text, "\n"); p && n < WORDS; p = strtok(NULL, "\n"))
		argv[n++] = p;
	n = cmd_globals_take(argv, &g);
	if (n > 1)
		cmd = cmd_find(argv[0], argv[1]);
	words += cmd ? 2 : 0;
	cmd = cmd ?: nth(data[0]);
	if (!args_parse(cmd, words, &args)) {
		check(cmd, &args, n);
		meaning(cmd, &args);
	}
	args_free(&args);
	return 0;
}
