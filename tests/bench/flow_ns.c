// SPDX-License-Identifier: GPL-2.0
/*
 * flow_ns.c - ns of a packet by test runs, less those of a program that only reads the packet.
 *
 * "classify" and "classify and insert" have policies of many kinds and packets that were derived
 * from them, a million flows in a row: none is in the cache any more when it comes again.
 */
#include "flow_bench.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <math.h>
#include <sys/mman.h>

#include "flowsend.skel.h"
#include "flowpeer.skel.h"

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

enum { PARSE, CACHED, PLAIN, LRU, SIDES };

struct sides {
	struct fb_side cached, plain;
	struct fb_side lru; /* of the same maps: a program only */
	int prog_fd[SIDES];
};

static int make(struct fb *b, struct sides *s, __u32 rules, bool mixed)
{
	struct fb_flow cached = { rules, FB_CACHE, true, mixed, NULL };
	struct fb_flow plain = { rules, 0, true, mixed, NULL };
	int err = fb_side(b, &s->cached, "flow");

	err = err ?: fb_side(b, &s->plain, "no cache");
	err = err ?: fb_side(b, &s->lru, "LRU_HASH");
	err = err ?: fb_flow(b, &s->cached, &cached);
	err = err ?: fb_flow(b, &s->plain, &plain);
	err = err ?: fb_peer(b, &s->lru, &s->cached, FB_CACHE);
	if (err)
		return err;
	s->prog_fd[PARSE] = bpf_program__fd(s->lru.peer->progs.fp_parse);
	s->prog_fd[CACHED] = s->cached.inst.prog_fd;
	s->prog_fd[PLAIN] = s->plain.inst.prog_fd;
	s->prog_fd[LRU] = bpf_program__fd(s->lru.peer->progs.fp_lru);
	return 0;
}

static void end(struct fb *b, struct sides *s)
{
	fb_side_end(b, &s->lru);
	fb_side_end(b, &s->plain);
	fb_side_end(b, &s->cached);
}

/* The best of all rounds, net. */
static void measure(struct fb *b, struct sides *s, const struct fb_load *load, double *ns)
{
	__u32 packets = 50000;

	fb_use(b, load);
	for (int i = 0; i < SIDES; i++) {
		ns[i] = INFINITY;
		fb_ns(b, s->prog_fd[i], load->flows > 65536 ? 2000000 : 300000);
	}
	for (unsigned int round = 0; round < 4 * b->rounds; round++)
		for (int i = 0; i < SIDES; i++)
			ns[i] = fmin(ns[i], fb_ns(b, s->prog_fd[i], packets));
	for (int i = SIDES - 1; i >= 0; i--)
		ns[i] -= ns[PARSE];
}

static struct fb_row *row_of(struct fb *b, const char *name, const char *peer, __u32 rules,
			     __u32 flows, double ours, double theirs)
{
	struct fb_row *row = fb_row(&b->report, name, peer, rules, flows);

	row->unit = FB_NS;
	row->ours = ours;
	row->theirs = theirs;
	row->ratio = theirs / ours;
	return row;
}

int fb_part_ns_hit(struct fb *b)
{
	static const __u32 flows[] = { 1, 1024, 65536, 1 << 20 };
	struct sides s;
	int err = make(b, &s, 1000, false);

	for (unsigned int i = 0; !err && i < LEN(flows); i++) {
		struct fb_load load = { FG_ROUND, flows[i], false };
		double ns[SIDES];

		measure(b, &s, &load, ns);
		row_of(b, "ns, hit", "no cache", 1000, flows[i], ns[CACHED], ns[PLAIN]);
		row_of(b, "ns, hit", "LRU_HASH", 1000, flows[i], ns[CACHED], ns[LRU]);
		fb_print(&b->report);
	}
	end(b, &s);
	return err;
}

static int fill_heads(struct fb *b, __u32 rules)
{
	size_t bytes = FG_HEADS * sizeof(struct fg_head);
	struct fg_head *head = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
				    bpf_map__fd(b->gen->maps.fg_head), 0);

	if (head == MAP_FAILED)
		return -errno;
	fb_heads(head, rules);
	munmap(head, bytes);
	return 0;
}

static int classify(struct fb *b, __u32 rules)
{
	struct fb_load load = { FG_HEADS_OF_RULES, FG_HEADS, false };
	double ns[SIDES];
	struct fb_row *row;
	struct sides s;
	int err = make(b, &s, rules, true);

	err = err ?: fill_heads(b, rules);
	if (!err) {
		measure(b, &s, &load, ns);
		row = row_of(b, "ns, classify", "", rules, FG_HEADS, ns[PLAIN], NAN);
		row = row_of(b, "ns, classify and insert", "", rules, FG_HEADS, ns[CACHED], NAN);
		if (rules == 10000) {
			row->goal_kind = FB_AT_MOST;
			row->goal = 150;
		}
		row = row_of(b, "ns, miss without classify", "LRU_HASH", rules, FG_HEADS,
			     ns[CACHED] - ns[PLAIN], ns[LRU] - ns[PLAIN]);
		row->goal_kind = FB_AT_LEAST;
		row->goal = 5;
		fb_print(&b->report);
	}
	end(b, &s);
	return err;
}

int fb_part_ns_miss(struct fb *b)
{
	static const __u32 rules[] = { 10, 1000, 10000, 100000 };
	int err = 0;

	for (unsigned int i = b->quick ? 2 : 0; !err && i < LEN(rules); i++)
		err = classify(b, rules[i]);
	return err;
}
