// SPDX-License-Identifier: GPL-2.0
/*
 * bench_sock.c - driver of the sock benchmark. See README.md here for what it measures and how.
 */
#include "sock_bench.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define ROUNDS	     15
#define ROUNDS_QUICK 5

enum {
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
};

static const struct part {
	const char *name;
	int (*run)(const struct sb_opts *o);
} parts[] = {
	{ "lookup", sb_lookup },
	{ "tcp", sb_tcp },
	{ "memory", sb_memory },
	{ "read", sb_read },
};

static const char usage[] = "Usage: bench_sock [OPTIONS]\n"
			    "  --part NAME      lookup, tcp, memory or read; default: all\n"
			    "  --quick          5 rounds instead of 15\n"
			    "  --rounds N       at most 64\n"
			    "  --cpu N          where to measure (default: the last CPU)\n"
			    "  --kcmtool FILE   default: build/kcmtool\n"
			    "  --out DIR        where sock.json goes (default: build/bench)\n";

/* What others attached above us runs with every segment of ours. */
static void warn_foreign(void)
{
	struct sb_cgroup cg;
	int n;

	if (!sb_cgroup_make(&cg, "bench-look")) {
		n = sb_cgroup_foreign(&cg);
		if (n)
			printf("Note: %d programs of others are attached to cgroups above; they "
			       "are measured with all sides.\n",
			       n);
	}
	sb_cgroup_remove(&cg);
}

static int quiet(enum libbpf_print_level level, const char *format, va_list args)
{
	return level == LIBBPF_WARN ? vfprintf(stderr, format, args) : 0;
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "part", required_argument, 0, 'p' },	  { "quick", no_argument, 0, 'q' },
		{ "rounds", required_argument, 0, 'r' },  { "cpu", required_argument, 0, 'c' },
		{ "kcmtool", required_argument, 0, 'k' }, { "out", required_argument, 0, 'o' },
		{ "help", no_argument, 0, 'h' },	  {},
	};
	static struct sb_report report;
	struct sb_opts o = { .report = &report,
			     .kcmtool = "build/kcmtool",
			     .rounds = ROUNDS,
			     .cpu = (int)sysconf(_SC_NPROCESSORS_ONLN) - 1 };
	const char *only = NULL, *dir = "build/bench";
	char path[SB_PATH];
	int opt, err = 0;

	while ((opt = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		switch (opt) {
		case 'p':
			only = optarg;
			break;
		case 'q':
			o.quick = true;
			o.rounds = ROUNDS_QUICK;
			break;
		case 'r':
			o.rounds = (unsigned int)atoi(optarg);
			break;
		case 'c':
			o.cpu = atoi(optarg);
			break;
		case 'k':
			o.kcmtool = optarg;
			break;
		case 'o':
			dir = optarg;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs(usage, stderr);
			return EXIT_USAGE;
		}
	}
	if (optind < argc || !o.rounds || o.rounds > SB_ROUNDS_MAX) {
		fputs(usage, stderr);
		return EXIT_USAGE;
	}
	libbpf_set_print(quiet);
	err = sb_namespaces();
	if (err) {
		fprintf(stderr, "bench_sock: namespaces: %s\n", strerror(-err));
		return EXIT_FAILED;
	}
	err = sb_pin_cpu(o.cpu);
	if (err) {
		fprintf(stderr, "bench_sock: CPU %d: %s\n", o.cpu, strerror(-err));
		return EXIT_FAILED;
	}
	/* Beside others' work: as little of it as possible between two of our steps. */
	setpriority(PRIO_PROCESS, 0, -20);
	warn_foreign();
	sb_print_head();
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		if (only && strcmp(only, parts[i].name))
			continue;
		if (parts[i].run(&o))
			err = -EIO;
	}
	sb_print_goals(&report);
	snprintf(path, sizeof(path), "%s/sock.json", dir);
	if (sb_json(&report, path)) {
		fprintf(stderr, "bench_sock: %s: %s\n", path, strerror(errno));
		err = -EIO;
	}
	return err ? EXIT_FAILED : 0;
}
