// SPDX-License-Identifier: GPL-2.0
/* flow_forward.c - packets that are forwarded: by flow, by a program that asks for each, by the
 * kernel. */
#include "flow_bench.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <string.h>

#include "flowsend.skel.h"
#include "flowpeer.skel.h"

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

/* The way out: a pair, whose far end drops as cheaply as can be. */
static int way_out(struct fb *b, struct fb_side *out)
{
	int err = fb_side(b, out, "out");

	err = err ?: fb_attach(b, out, bpf_program__fd(b->gen->progs.fg_empty));
	if (!err &&
	    fb_sh(b,
		  "ip addr add 10.102.0.1/24 dev %s && "
		  "ip neigh add 10.102.0.2 lladdr 02:00:00:00:00:01 dev %s nud permanent && "
		  "ip route add 10.101.0.0/16 via 10.102.0.2 && "
		  "ip route add 10.200.0.0/16 dev lo",
		  out->tx, out->tx)) {
		fprintf(stderr, "bench_flow: forward: %s\n", b->why);
		err = -EIO;
	}
	return err;
}

static int make(struct fb *b, struct fb_side *s, const char *name, const struct fb_side *out)
{
	int err = fb_side(b, s, name);

	snprintf(s->count, sizeof(s->count), "%s", out->rx);
	return err;
}

static int run(struct fb *b, struct fb_side *out, __u32 rules)
{
	static const __u32 flows[] = { 1, 1024, 65536 };
	struct fb_side flow, plain, fib, kernel;
	int err = make(b, &flow, "flow", out);

	err = err ?: make(b, &plain, "no cache", out);
	err = err ?: make(b, &fib, "bpf_fib_lookup", out);
	err = err ?: make(b, &kernel, "kernel forwarding", out);
	err = err ?: fb_flow(b, &flow, &(struct fb_flow){ rules, FB_CACHE, .action = "forward" });
	err = err ?: fb_flow(b, &plain, &(struct fb_flow){ rules, 0, .action = "forward" });
	err = err ?: fb_peer(b, &fib, &flow, 0);
	err = err ?: fb_attach(b, &fib, bpf_program__fd(fib.peer->progs.fp_fib));
	err = err ?: fb_stack(b, &kernel);
	for (unsigned int i = 0; !err && i < LEN(flows); i++) {
		struct fb_side *side[] = { &flow, &plain, &fib, &kernel };
		struct fb_load load = { FG_ROUND, flows[i], true };
		struct fb_row *row = fb_compare(b, "forward", rules, &load, side, LEN(side));

		if (!row)
			continue;
		row[0].goal_kind = row[1].goal_kind = row[2].goal_kind = FB_AT_LEAST;
		row[0].goal = 0.97;
		row[1].goal = 1.2;
		row[2].goal = 3.8;
	}
	fb_side_end(b, &kernel);
	fb_side_end(b, &fib);
	fb_side_end(b, &plain);
	fb_side_end(b, &flow);
	return err;
}

int fb_part_forward(struct fb *b)
{
	struct fb_side out;
	int err = way_out(b, &out);

	err = err ?: run(b, &out, 10);
	if (!b->quick)
		err = err ?: run(b, &out, 10000);
	fb_side_end(b, &out);
	return err;
}
