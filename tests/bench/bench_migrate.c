// SPDX-License-Identifier: GPL-2.0
/*
 * bench_migrate.c - driver of the migrate benchmark. See README.md here for what it measures.
 */
#include "migrate_bench.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define ROUNDS	     15
#define ROUNDS_QUICK 5

static const struct sb_part parts[] = {
	{ "select", mb_cost },
	{ "ops", mb_ops },
	{ "rate", mb_rate },
	{ "move", mb_move },
};

static const char usage[] = "Usage: bench_migrate [OPTIONS]\n"
			    "  --part NAME      select, ops, rate or move; default: all\n"
			    "  --quick          5 rounds instead of 15\n"
			    "  --rounds N       at most 64\n"
			    "  --cpu N          where to measure (default: the last CPU)\n"
			    "  --out DIR        where migrate.json goes (default: build/bench)\n";

static int prepare(const struct sb_opts *o)
{
	int err = sb_namespaces();

	err = err ?: mb_machine();
	err = err ?: sb_pin_cpu(o->cpu);
	if (err)
		fprintf(stderr, "bench_migrate: namespaces, sysctl or CPU %d: %s\n", o->cpu,
			strerror(-err));
	/* Beside others' work: as little of it as possible between two of our steps. */
	setpriority(PRIO_PROCESS, 0, -20);
	return err;
}

int main(int argc, char **argv)
{
	static struct sb_report report = { .ours = "migrate" };
	struct sb_opts o = { .report = &report, .rounds = ROUNDS };
	struct sb_args args;
	int status = sb_args_take(argc, argv, usage, ROUNDS_QUICK, &o, &args);

	if (status >= 0)
		return status;
	libbpf_set_print(sb_libbpf_print);
	if (prepare(&o))
		return EXIT_FAILURE;
	return sb_run(parts, sizeof(parts) / sizeof(parts[0]), &o, &args);
}
