// SPDX-License-Identifier: GPL-2.0
/* bench_rx.c - driver of the rx benchmark. See README.md here for what it measures and how. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "rx_bench.h"

#define ROUNDS	     7
#define ROUNDS_QUICK 3

static const struct sb_part parts[] = {
	{ "sizes", rxb_sizes },
	{ "threads", rxb_threads },
	{ "tune", rxb_tune },
};

static const char usage[] = "Usage: bench_rx [OPTIONS]\n"
			    "  --part NAME      sizes, threads or tune; default: all\n"
			    "  --quick          fewer cases, less data, 3 rounds instead of 7\n"
			    "  --rounds N       at most 64\n"
			    "  --cpu N          where to measure (default: the last CPU)\n"
			    "  --kcmtool FILE   default: build/kcmtool\n"
			    "  --out DIR        where rx.json goes (default: build/bench)\n";

int main(int argc, char **argv)
{
	static struct sb_report report = { .ours = "rx" };
	struct sb_opts o = { .report = &report, .kcmtool = "build/kcmtool", .rounds = ROUNDS };
	struct sb_args args;
	int err, status = sb_args_take(argc, argv, usage, ROUNDS_QUICK, &o, &args);

	if (status >= 0)
		return status;
	err = sb_namespaces();
	err = err ?: sb_pin_cpu(o.cpu);
	if (err) {
		fprintf(stderr, "bench_rx: namespaces, CPU %d: %s\n", o.cpu, strerror(-err));
		return EXIT_FAILURE;
	}
	setpriority(PRIO_PROCESS, 0, -20);
	return sb_run(parts, sizeof(parts) / sizeof(parts[0]), &o, &args);
}
