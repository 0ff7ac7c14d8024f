// SPDX-License-Identifier: GPL-2.0
/*
 * bench_flow.c - driver of the flow benchmark. See README.md here for what it measures.
 */
#include "flow_bench.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROUNDS	     21
#define ROUNDS_QUICK 5

static const struct part {
	const char *name;
	int (*run)(struct fb *b);
} parts[] = {
	{ "hit", fb_part_hit },	      { "rules", fb_part_rules },
	{ "mix", fb_part_mix },	      { "forward", fb_part_forward },
	{ "ns-hit", fb_part_ns_hit }, { "ns-miss", fb_part_ns_miss },
	{ "ops", fb_part_ops },
};

static const char usage[] =
	"Usage: bench_flow [OPTIONS]\n"
	"  --part NAME      hit, rules, mix, forward, ns-hit, ns-miss or ops; default: all\n"
	"  --quick          fewer and shorter rounds, fewer cases\n"
	"  --rounds N       at most 64\n"
	"  --cpu N          where to measure (default: the last CPU)\n"
	"  --kcmtool FILE   default: build/kcmtool\n"
	"  --out DIR        where flow.json goes (default: build/bench)\n";

static int run(struct fb *b, const char *only, const char *dir)
{
	char path[SB_PATH];
	int err = sb_pin_cpu(b->cpu);

	err = err ?: fb_begin(b);
	if (err)
		fprintf(stderr, "bench_flow: namespaces, CPU %d or packet generator: %s\n", b->cpu,
			strerror(-err));
	for (size_t i = 0; !err && i < sizeof(parts) / sizeof(parts[0]); i++)
		if (!only || !strcmp(only, parts[i].name))
			err = parts[i].run(b);
	fb_end(b);
	fb_print_goals(&b->report);
	snprintf(path, sizeof(path), "%s/flow.json", dir);
	if (fb_json(&b->report, path)) {
		fprintf(stderr, "bench_flow: %s: %s\n", path, strerror(errno));
		err = -EIO;
	}
	return err ?: b->wrong ? -EIO : 0;
}

int main(int argc, char **argv)
{
	static struct fb b;
	struct sb_opts o = { .kcmtool = "build/kcmtool", .rounds = ROUNDS };
	struct sb_args args;
	int status = sb_args_take(argc, argv, usage, ROUNDS_QUICK, &o, &args);

	if (status >= 0)
		return status;
	b.cpu = o.cpu;
	b.rounds = o.rounds;
	b.quick = o.quick;
	b.kcmtool = o.kcmtool;
	b.slice_ns = (o.quick ? 12 : 20) * BENCH_NS_PER_MS;
	libbpf_set_print(sb_libbpf_print);
	return run(&b, args.only, args.dir) ? EXIT_FAILURE : 0;
}
