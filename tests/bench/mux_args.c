// SPDX-License-Identifier: GPL-2.0
/* The command line of the mux benchmark. */
#include "bench.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "mux_args.h"
#include "report.h"

static void usage(FILE *f)
{
	fprintf(f,
		"Usage: bench_mux [OPTIONS]\n"
		"  --quick         a short subset of the cases\n"
		"  --case GLOB     only the cases that match, e.g. 'pipe-64-*' (see --list)\n"
		"  --server NAMES  only these servers, e.g. mux,queue\n"
		"  --threads       mux workers are threads, not processes\n"
		"  --arena-mib N   memory of the mux for messages (default: the library's)\n"
		"  --rounds N      rounds per server and case (default 3, at most %d)\n"
		"  --round-ms N    length of a round (default 500, quick 400)\n"
		"  --warm-ms N     load before each round is measured (default 100)\n"
		"  --out DIR       where mux.json and mux.png go (default build/bench)\n"
		"  --list          print the names of the cases\n",
		ROUNDS_MAX);
}

static bool number(const char *text, unsigned int most, unsigned int *value)
{
	char *end;
	unsigned long v = strtoul(text, &end, 10);

	if (!*text || *end || !v || v > most) {
		fprintf(stderr, "bench_mux: '%s' is no number from 1 to %u\n", text, most);
		return false;
	}
	*value = (unsigned int)v;
	return true;
}

int settings_parse(int argc, char **argv, struct settings *set, const char **servers)
{
	static const struct option options[] = {
		{ "quick", no_argument, NULL, 'q' },
		{ "case", required_argument, NULL, 'c' },
		{ "server", required_argument, NULL, 's' },
		{ "threads", no_argument, NULL, 't' },
		{ "rounds", required_argument, NULL, 'r' },
		{ "list", no_argument, NULL, 'l' },
		{ "round-ms", required_argument, NULL, 'm' },
		{ "out", required_argument, NULL, 'o' },
		{ "warm-ms", required_argument, NULL, 'w' },
		{ "help", no_argument, NULL, 'h' },
		{ "arena-mib", required_argument, NULL, 'a' },
		{ 0 },
	};
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		bool ok = true;

		switch (opt) {
		case 'q':
			set->quick = true;
			break;
		case 'c':
			set->pattern = optarg;
			break;
		case 's':
			*servers = optarg;
			break;
		case 't':
			set->threads = true;
			break;
		case 'r':
			ok = number(optarg, ROUNDS_MAX, &set->rounds);
			break;
		case 'm':
			ok = number(optarg, 60000, &set->round_ms);
			break;
		case 'w':
			ok = number(optarg, 60000, &set->warm_ms);
			break;
		case 'a':
			ok = number(optarg, 4096, &set->arena_mib);
			break;
		case 'o':
			set->dir = optarg;
			break;
		case 'l':
			set->list = true;
			break;
		case 'h':
			usage(stdout);
			exit(0);
		default:
			ok = false;
		}
		if (!ok) {
			usage(stderr);
			return EXIT_USAGE;
		}
	}
	if (!set->round_ms)
		set->round_ms = set->quick ? 400 : 500;
	return 0;
}
