// SPDX-License-Identifier: GPL-2.0
/* sock_args.c - the command line of sock's benchmark and its kin, and their parts one after the
 * other. */
#include "sock_bench.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
};

int sb_args_take(int argc, char **argv, const char *usage, unsigned int rounds_quick,
		 struct sb_opts *o, struct sb_args *a)
{
	/* The end comes one earlier where there is no tool to name. */
	const struct option longs[] = {
		{ "part", required_argument, 0, 'p' },
		{ "quick", no_argument, 0, 'q' },
		{ "rounds", required_argument, 0, 'r' },
		{ "cpu", required_argument, 0, 'c' },
		{ "out", required_argument, 0, 'o' },
		{ "help", no_argument, 0, 'h' },
		{ o->kcmtool ? "kcmtool" : NULL, required_argument, 0, 'k' },
		{},
	};
	int opt;

	o->cpu = (int)sysconf(_SC_NPROCESSORS_ONLN) - 1;
	*a = (struct sb_args){ .dir = "build/bench" };
	while ((opt = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		switch (opt) {
		case 'p':
			a->only = optarg;
			break;
		case 'q':
			o->quick = true;
			o->rounds = rounds_quick;
			break;
		case 'r':
			o->rounds = (unsigned int)atoi(optarg);
			break;
		case 'c':
			o->cpu = atoi(optarg);
			break;
		case 'k':
			o->kcmtool = optarg;
			break;
		case 'o':
			a->dir = optarg;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs(usage, stderr);
			return EXIT_USAGE;
		}
	}
	if (optind < argc || !o->rounds || o->rounds > SB_ROUNDS_MAX) {
		fputs(usage, stderr);
		return EXIT_USAGE;
	}
	return -1;
}

int sb_run(const struct sb_part *parts, size_t n, const struct sb_opts *o, const struct sb_args *a)
{
	const char *name = o->report->ours;
	char path[SB_PATH];
	int status = 0;

	sb_print_head(o->report);
	for (size_t i = 0; i < n; i++)
		if ((!a->only || !strcmp(a->only, parts[i].name)) && parts[i].run(o))
			status = EXIT_FAILED;
	sb_print_goals(o->report);
	snprintf(path, sizeof(path), "%s/%s.json", a->dir, name);
	if (sb_json(o->report, path)) {
		fprintf(stderr, "bench_%s: %s: %s\n", name, path, strerror(errno));
		status = EXIT_FAILED;
	}
	return status;
}

int sb_libbpf_print(enum libbpf_print_level level, const char *format, va_list args)
{
	return level == LIBBPF_WARN ? vfprintf(stderr, format, args) : 0;
}
