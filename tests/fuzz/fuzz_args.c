// SPDX-License-Identifier: GPL-2.0
/* The argument parser: any words, against entries with every kind of argument and option. */
#include "../../src/args.c"
#include "../../src/lib/suggest.c"

#define WORDS 24

static const struct cmd_opt opts[] = {
	{ .name = "frame", .value = "DESC", .help = "", .required = true },
	{ .name = "workers", .value = "N", .help = "", .dashed = true },
	{ .name = "quiet", .help = "" },
	{ .name = "again", .value = "X", .help = "", .many = true },
	{ 0 }
};

static const struct cmd cmds[] = {
	{ "mux", "create", "NAME [EXTRA]", "", 0, NULL, opts, NULL },
	{ "mux", "run", "NAME -- PROGRAM [ARG]...", "", 0, NULL, opts, NULL },
	{ NULL, "load", "[SYSTEM]...", "", 0, NULL, NULL, NULL },
	{ NULL, "status", NULL, "", 0, NULL, NULL, NULL },
};

int report(const struct problem *p, const char *what, ...)
{
	(void)what;
	return p->code ? p->code : KCM_EXIT_FAILED;
}

/* Accepted words must satisfy what the entry says. */
static void check(const struct cmd *cmd, const struct cmd_args *args)
{
	const char *all[WORDS];
	uint64_t n;

	if (cmd->args && strstr(cmd->args, "NAME") && args->npos < 1)
		abort();
	if (!cmd->args && args->npos)
		abort();
	if (cmd->args && strstr(cmd->args, "-- ") && !args->rest)
		abort();
	if (!cmd->opts)
		return;
	if (!args_str(args, "frame", NULL))
		abort();
	if (!args_all(args, "again", all, WORDS) != !args_str(args, "again", NULL))
		abort();
	if (!args_u64(args, "workers", 1, 63, 16, &n) && (n < 1 || n > 63))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *argv[WORDS + 1] = { NULL };
	_cleanup_free_ char *text = NULL;
	struct cmd_globals g = { 0 };
	struct cmd_args args = { 0 };
	const struct cmd *cmd;
	size_t n = 0;

	if (size < 1)
		return 0;
	cmd = &cmds[data[0] % ARRAY_LEN(cmds)];
	text = calloc(1, size);
	if (!text)
		return 0;
	memcpy(text, data + 1, size - 1);
	for (char *p = text; p < text + size && n < WORDS; p += strlen(p) + 1)
		argv[n++] = p;
	cmd_globals_take(argv, &g);
	if (!args_parse(cmd, argv, &args))
		check(cmd, &args);
	args_free(&args);
	return 0;
}
