/* SPDX-License-Identifier: GPL-2.0 */
/*
 * flow_bench.h - what the parts of the flow benchmark share: the network, sides and how they are
 * measured, rows of the report.
 */
#ifndef KCM_TESTS_FLOW_BENCH_H
#define KCM_TESTS_FLOW_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <linux/types.h>

#include "../bpf/flowsend.h"
#include "flow_inst.h"
#include "sock_bench.h"

#define FB_DIR	 64
#define FB_PEERS 12
#define FB_ROWS	 192
#define FB_CACHE 131072	     /* entries: 64k flows fill half of them */
#define FB_SADDR 0x0ac80000u /* 10.200.0.0: what all packets come from, or its low half differs */
#define FB_DADDR 0x0a640010u /* 10.100.0.16 to .31: here */
#define FB_FAR	 0x0a650010u /* 10.101.0.16 to .31: to be forwarded to */
#define FB_DPORT 4000

/* ---- report ---- */

enum fb_goal { FB_NO_GOAL, FB_AT_LEAST, FB_AT_MOST };

/* One case against one peer. What was not measured is NAN. */
struct fb_row {
	char name[40]; /* of the case */
	char peer[40];
	__u32 rules, flows;
	double ours, theirs; /* Mpps, the best round; or ns, the best; or ms */
	double ratio, ratio_q1, ratio_q3;
	unsigned int rounds;
	enum { FB_MPPS, FB_NS, FB_MS } unit;
	enum fb_goal goal_kind;
	double goal;
	char note[120];
};

struct fb_report {
	struct fb_row row[FB_ROWS];
	unsigned int n, printed;
};

struct fb_row *fb_row(struct fb_report *r, const char *name, const char *peer, __u32 rules,
		      __u32 flows);
/* Rows that were made since the last time. */
void fb_print(struct fb_report *r);
void fb_print_goals(const struct fb_report *r);
int fb_json(const struct fb_report *r, const char *path);

/* ---- the benchmark ---- */

struct flowsend;
struct flowpeer;

struct fb {
	struct fb_report report;
	struct flowsend *gen;
	char dir[FB_DIR]; /* for files of rules */
	char why[512];
	const char *kcmtool;
	unsigned int rounds;
	__u64 slice_ns; /* of one measurement */
	int cpu;
	bool quick;
	__u32 pairs;
	unsigned int wrong; /* sides that did not do what they should */
};

/* Packets: which flows, and where they go to. */
struct fb_load {
	enum fg_kind kind;
	__u32 flows; /* a power of two */
	bool far;    /* to FB_FAR */
};

/* One of those that are compared: a device whose packets it judges. */
struct fb_side {
	char name[40];
	char tx[16], rx[16];
	__u32 place;	       /* of @tx in fg_dev */
	__u32 packets;	       /* of a slice */
	char count[16];	       /* the device that counts what came through; "": @rx */
	bool off;	       /* can't be measured here */
	int link_fd;	       /* or -1 */
	struct flow_inst inst; /* of flow, or none */
	struct flowpeer *peer; /* or NULL */
};

/* Return: exit code of a shell's command; what it prints is kept in b->why. */
__attribute__((format(printf, 2, 3))) int fb_sh(struct fb *b, const char *fmt, ...);
int fb_begin(struct fb *b);
void fb_end(struct fb *b);

/* A pair of devices. Return: 0 or -errno, as all here; why: in b->why. */
int fb_side(struct fb *b, struct fb_side *s, const char *name);
void fb_side_end(struct fb *b, struct fb_side *s);
int fb_attach(struct fb *b, struct fb_side *s, int prog_fd);
/* Packets go to the stack, by NAPI. */
int fb_stack(struct fb *b, struct fb_side *s);

struct fb_flow {
	__u32 rules;
	__u32 cache; /* entries; 0: none */
	bool no_bypass, mixed;
	const char *action; /* of the last policy; NULL: drop */
};
int fb_flow(struct fb *b, struct fb_side *s, const struct fb_flow *how);
/* Programs over the maps of an instance. @lru: entries */
int fb_peer(struct fb *b, struct fb_side *s, const struct fb_side *of, __u32 lru);

/* ---- measuring ---- */

void fb_use(struct fb *b, const struct fb_load *load);
/* Live packets, for about so long; 0: as many as the last time. Return: Mpps of CPU time; NAN: it
 * did not do what it should. */
double fb_live(struct fb *b, struct fb_side *s, __u64 slice_ns);
/* Test runs: ns of a packet, of the generator too. */
double fb_ns(struct fb *b, int prog_fd, __u32 packets);

/*
 * All sides in each round, in turn: a row for each but the first, which is ours.
 * Return: the first of these rows, or NULL.
 */
struct fb_row *fb_compare(struct fb *b, const char *name, __u32 rules, const struct fb_load *load,
			  struct fb_side *const *side, unsigned int n);

/* ---- rules ---- */

enum fb_form {
	FB_POLICIES,
	FB_NFT_FLAT,
	FB_NFT_HASH,
	FB_NFT_RANGES,
	FB_IPTABLES,
};

struct fb_text {
	enum fb_form form;
	__u32 rules;
	__u32 shift; /* another one: other policies */
	const char *dev;
	const char *action; /* of the last one; NULL: drop */
	bool mixed;	    /* FB_POLICIES: of many kinds, see fb_heads() */
};
/* Rules, the last of which all packets match. Return: 0 or -errno. */
int fb_rules(const char *path, const struct fb_text *text);
/* Headers of packets that meet mixed rules, in all of @head. */
void fb_heads(struct fg_head *head, __u32 rules);

/* ---- parts ---- */

int fb_part_hit(struct fb *b);
int fb_part_rules(struct fb *b);
int fb_part_mix(struct fb *b);
int fb_part_forward(struct fb *b);
int fb_part_ns_hit(struct fb *b);
int fb_part_ns_miss(struct fb *b);
int fb_part_ops(struct fb *b);

#endif
