/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * flow_tree_part.h - what the parts of the compiler of trees share.
 *
 * A rule is a box: in each dimension (a field of a packet, or a part of one) it has a range. A node
 * stands for a region, and lists the rules whose boxes meet it. A cut divides the region into 2^n
 * equal parts in one dimension. The program compares all of a rule in the leaf, so a packet may be
 * led to any leaf that lists all rules it matches, be it in the leaf's region or not: that is why a
 * cut can be of the smallest block with all the rules, and leave what is outside of it alone.
 */
#ifndef KCM_FLOW_TREE_PART_H
#define KCM_FLOW_TREE_PART_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "../../bpf/flow.h"

#define FLOW_DIMS     13   /* IPv6: 8 words of addresses, 2 ports, protocol, VLAN, interface */
#define FLOW_CUT_BITS 10   /* of one cut, at most */
#define FLOW_SAMPLE   2048 /* rules that the choice of a cut is made by */

struct flow_span {
	uint32_t lo, hi;
};

/* A part of a field that a cut is within. */
struct flow_dim {
	uint8_t field, low, width; /* bits low .. low + width - 1 */
};

/* A block of 2^bits values from base in each dimension; bits 0: no more cuts there. */
struct flow_region {
	uint32_t base[FLOW_DIMS];
	uint8_t bits[FLOW_DIMS];
};

struct flow_cut {
	unsigned int dim;
	unsigned int bits; /* into 2^bits parts */
	uint32_t base;	   /* what is cut: 2^block values from here */
	unsigned int block;
};

/* Rules of leaves, as numbers of policies. A list that is there already is used again. */
struct flow_pool {
	uint32_t *id;
	size_t n, room;
	uint32_t *last; /* of a policy: where it was put last, + 1 */
	struct flow_pool_leaf {
		uint32_t hash, base, n; /* n 0: free */
	} * leaf;
	size_t leaves, leaf_room; /* a power of two */
};

struct flow_nodes {
	uint64_t *v;
	size_t n, room;
};

/* A stack. Places in it are kept, not pointers, as it moves when it grows. */
struct flow_stack {
	uint32_t *v;
	size_t n, room;
};

/* Rules of a node in one dimension, from the beginning of the block that is to be cut. */
struct flow_sample {
	uint32_t n;
	uint32_t whole; /* rules that cover all of the block */
	struct flow_span span[FLOW_SAMPLE];
	/* Of parts: rules whose first or last one it is, and those that cover it partly. */
	uint32_t starts[1 << FLOW_CUT_BITS], ends[1 << FLOW_CUT_BITS], partly[1 << FLOW_CUT_BITS];
};

struct flow_tree {
	const struct flow_dim *dim;
	unsigned int dims;
	struct flow_span *span[FLOW_DIMS]; /* of each of the tree's rules, in order of ranks */
	const uint32_t *policy;		   /* the rules' */
	uint32_t n;
	size_t rule_bytes;
	struct flow_pool *pool;
	struct flow_nodes *nodes;
	struct flow_stack stack;
	uint32_t depth, leaf_max;
	struct flow_sample sample;
};

/*
 * The best cut of the node that lists @n rules (of the tree) and has region @g, such that nodes and
 * lists of the parts take no more than @budget bytes. Dimensions that no cut below this node can
 * tell rules apart by are closed in @g. Return: false if there is no cut that helps.
 */
bool flow_cut_choose(struct flow_tree *t, const uint32_t *rule, uint32_t n, struct flow_region *g,
		     uint64_t budget, struct flow_cut *cut);

/* Build all of it. Return: its root (with @budget bytes, but at least a leaf), 0: no memory. */
uint32_t flow_tree_build(struct flow_tree *t, uint64_t budget);

/*
 * Split the policies of a family, all in @list[0] in the order of their ranks, between four trees.
 * @r6: NULL for IPv4. The new lists are to be freed. Return: 0 or -ENOMEM.
 */
int flow_group_split(const struct kcm_fl_rule4 *r4, const struct kcm_fl_rule6 *r6,
		     uint32_t *list[KCM_FL_GROUPS], uint32_t n[KCM_FL_GROUPS]);

/* A leaf with these policies. Return: 0 or -ENOMEM. */
int flow_pool_put(struct flow_pool *p, const uint32_t *id, uint32_t n, uint32_t *base);
void flow_pool_free(struct flow_pool *p);

/* @n nodes in a row. Return: the first, 0: no memory. */
uint32_t flow_nodes_add(struct flow_nodes *nodes, uint32_t n);

#endif
