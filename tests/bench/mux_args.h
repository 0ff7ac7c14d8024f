/* SPDX-License-Identifier: GPL-2.0 */
/* What the mux benchmark is asked to do. */
#ifndef MUX_ARGS_H
#define MUX_ARGS_H

#include <stdbool.h>

enum {
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
};

struct settings {
	const char *pattern; /* cases to run, NULL = all */
	const char *dir;
	unsigned int rounds, round_ms, warm_ms, arena_mib;
	bool quick, threads, list;
};

/* Return: 0, or the exit code when there is nothing to run. @servers: names, NULL = all. */
int settings_parse(int argc, char **argv, struct settings *set, const char **servers);

#endif
