// SPDX-License-Identifier: GPL-2.0
/*
 * bench_sock.c - driver of the sock benchmark. See README.md here for what it measures and how.
 */
#include "sock_bench.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define ROUNDS	     15
#define ROUNDS_QUICK 5

static const struct sb_part parts[] = {
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

int main(int argc, char **argv)
{
	static struct sb_report report = { .ours = "sock" };
	struct sb_opts o = { .report = &report, .kcmtool = "build/kcmtool", .rounds = ROUNDS };
	struct sb_args args;
	int err, status = sb_args_take(argc, argv, usage, ROUNDS_QUICK, &o, &args);

	if (status >= 0)
		return status;
	libbpf_set_print(sb_libbpf_print);
	err = sb_namespaces();
	if (err) {
		fprintf(stderr, "bench_sock: namespaces: %s\n", strerror(-err));
		return EXIT_FAILURE;
	}
	err = sb_pin_cpu(o.cpu);
	if (err) {
		fprintf(stderr, "bench_sock: CPU %d: %s\n", o.cpu, strerror(-err));
		return EXIT_FAILURE;
	}
	/* Beside others' work: as little of it as possible between two of our steps. */
	setpriority(PRIO_PROCESS, 0, -20);
	warn_foreign();
	return sb_run(parts, sizeof(parts) / sizeof(parts[0]), &o, &args);
}
