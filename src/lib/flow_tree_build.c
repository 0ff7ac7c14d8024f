// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * flow_tree_build.c - cut a set of rules until all lists are short.
 *
 * Memory is kept in bounds by budgets: a node may use so many bytes, and at least what a leaf with
 * all of its rules takes. It is cut only if the lists of the parts fit in that, and what is left
 * over is given to the parts that are still long. A node that cannot be cut is a leaf, however
 * long.
 *
 * Rules behind one that covers all of a leaf's region stay in the list: policies are taken out by
 * their generation, without building anew, and then those behind it count.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "flow_tree_part.h"

#define NONE UINT32_MAX

/* A node to be built: it lists the rules at @list of the stack. */
struct todo {
	uint32_t node;
	size_t list;
	uint32_t n;
	uint32_t depth; /* nodes before it */
	struct flow_region region;
};

/* Parts of a cut that have the same list: one node is built for them. */
struct kind {
	size_t list;
	uint32_t n, fill;
	uint32_t first; /* of the parts */
	bool even;	/* all of its rules cover it, so there is nothing to cut here again */
};

struct parts {
	uint32_t n, kinds, whole;
	uint64_t bytes;	   /* of their nodes and lists */
	uint32_t long_sum; /* of the lengths of lists that may be cut again */
	struct kind *kind; /* room for @n */
	uint32_t *kind_of; /* of each part */
};

static int push(struct flow_stack *s, size_t n, size_t *at)
{
	size_t room = s->room ? s->room : 65536;
	uint32_t *v;

	while (room < s->n + n)
		room *= 2;
	if (room != s->room) {
		v = realloc(s->v, room * sizeof(*v));
		if (!v)
			return -ENOMEM;
		s->v = v;
		s->room = room;
	}
	*at = s->n;
	s->n += n;
	return 0;
}

static uint32_t top_of(uint32_t base, unsigned int bits)
{
	return bits < 32 ? base + (1u << bits) - 1 : ~0u;
}

/* Where a rule is among the parts. */
struct range {
	uint32_t first, last;
	bool first_partly, last_partly, whole;
};

static struct range range_of(struct flow_span r, const struct flow_cut *c)
{
	unsigned int shift = c->block - c->bits;
	uint32_t top = top_of(c->base, c->block), within = top_of(0, shift);
	uint32_t lo = (r.lo < c->base ? c->base : r.lo) - c->base;
	uint32_t hi = (r.hi > top ? top : r.hi) - c->base;

	return (struct range){
		.first = lo >> shift,
		.last = hi >> shift,
		.first_partly = lo & within,
		.last_partly = ~hi & within,
		.whole = !lo && hi == top - c->base,
	};
}

static void count_edges(struct flow_tree *t, const struct todo *now, const struct flow_cut *c,
			struct parts *p)
{
	const uint32_t *rule = t->stack.v + now->list;
	struct flow_sample *s = &t->sample;

	memset(s->starts, 0, p->n * sizeof(*s->starts));
	memset(s->ends, 0, p->n * sizeof(*s->ends));
	memset(s->partly, 0, p->n * sizeof(*s->partly));
	p->whole = 0;
	for (uint32_t i = 0; i < now->n; i++) {
		struct range r = range_of(t->span[c->dim][rule[i]], c);

		s->starts[r.first]++;
		s->ends[r.last]++;
		s->partly[r.first] += r.first_partly;
		s->partly[r.last] += r.last_partly;
		p->whole += r.whole;
	}
}

/*
 * Parts are of one kind if no rule starts or ends between them and none covers them partly, or if
 * they have no rules but those that cover the whole block.
 */
static void number_kinds(const struct flow_tree *t, struct parts *p)
{
	const struct flow_sample *s = &t->sample;
	uint32_t n = 0, plain = NONE, now = NONE;

	p->kinds = p->long_sum = 0;
	p->bytes = p->n * sizeof(uint64_t);
	for (uint32_t i = 0; i < p->n; i++) {
		uint32_t ended = i ? s->ends[i - 1] : 0;
		bool same = i && !s->starts[i] && !ended && !s->partly[i] && !s->partly[i - 1];

		n += s->starts[i] - ended;
		if (n == p->whole && plain != NONE) {
			now = plain;
		} else if (!same) {
			now = p->kinds++;
			p->kind[now] = (struct kind){ .n = n, .first = i, .even = !s->partly[i] };
			p->bytes += n * t->rule_bytes;
			p->long_sum += n > KCM_FL_LEAF ? n : 0;
			if (n == p->whole)
				plain = now;
		}
		p->kind_of[i] = now;
	}
}

static int fill_lists(struct flow_tree *t, const struct todo *now, const struct flow_cut *c,
		      struct parts *p)
{
	for (uint32_t k = 0; k < p->kinds; k++)
		if (push(&t->stack, p->kind[k].n, &p->kind[k].list))
			return -ENOMEM;
	for (uint32_t i = 0; i < now->n; i++) {
		uint32_t rule = t->stack.v[now->list + i];
		struct range r = range_of(t->span[c->dim][rule], c);
		/* A rule that is not everywhere is in no plain part, so its kinds are in a row. */
		uint32_t k = r.whole ? 0 : p->kind_of[r.first];
		uint32_t last = r.whole ? p->kinds - 1 : p->kind_of[r.last];

		for (; k <= last; k++)
			t->stack.v[p->kind[k].list + p->kind[k].fill++] = rule;
	}
	return 0;
}

static int leaf(struct flow_tree *t, const struct todo *now, int64_t *used)
{
	uint32_t *id = t->stack.v + now->list, base;
	size_t before = t->pool->n;
	int ret;

	/* The list is not needed any more as one of rules of this tree. */
	for (uint32_t i = 0; i < now->n; i++)
		id[i] = t->policy[id[i]];
	ret = flow_pool_put(t->pool, id, now->n, &base);
	if (ret)
		return ret;
	t->nodes->v[now->node] = KCM_FL_LEAF_NODE(now->n, base);
	t->depth = now->depth + 1 > t->depth ? now->depth + 1 : t->depth;
	t->leaf_max = now->n > t->leaf_max ? now->n : t->leaf_max;
	*used += (t->pool->n - before) * t->rule_bytes;
	return 0;
}

static int build(struct flow_tree *t, struct todo *now, uint64_t budget, int64_t *used);

static int build_kinds(struct flow_tree *t, const struct todo *now, const struct flow_cut *c,
		       struct parts *p, uint32_t base, uint64_t budget, int64_t *used)
{
	uint64_t spare = budget - p->bytes, long_left = p->long_sum;

	for (uint32_t k = 0; k < p->kinds; k++) {
		const struct kind *kind = &p->kind[k];
		uint64_t least = kind->n * t->rule_bytes, share = 0;
		struct todo part = *now;
		int64_t took = 0;
		int ret;

		if (kind->n > KCM_FL_LEAF) {
			share = spare * ((double)kind->n / long_left);
			share = share < spare ? share : spare;
			long_left -= kind->n;
		}
		part.node = base + kind->first;
		part.list = kind->list;
		part.n = kind->n;
		part.depth++;
		part.region.bits[c->dim] = kind->even ? 0 : c->block - c->bits;
		part.region.base[c->dim] = c->base + (kind->first << (c->block - c->bits));
		ret = build(t, &part, least + share, &took);
		if (ret)
			return ret;
		*used += took;
		spare = spare + least - took;
	}
	for (uint32_t i = 0; i < p->n; i++)
		t->nodes->v[base + i] = t->nodes->v[base + p->kind[p->kind_of[i]].first];
	return 0;
}

/* Return: 0, -ENOMEM, -ENOSPC: not with this budget. */
static int cut_up(struct flow_tree *t, const struct todo *now, const struct flow_cut *c,
		  struct parts *p, uint64_t budget, int64_t *used)
{
	const struct flow_dim *dim = &t->dim[c->dim];
	size_t stack = t->stack.n;
	uint32_t base;
	int ret;

	p->n = 1u << c->bits;
	p->kind = malloc(p->n * (sizeof(*p->kind) + sizeof(*p->kind_of)));
	if (!p->kind)
		return -ENOMEM;
	p->kind_of = (uint32_t *)(p->kind + p->n);
	count_edges(t, now, c, p);
	number_kinds(t, p);
	if (p->bytes > budget)
		return -ENOSPC;
	base = flow_nodes_add(t->nodes, p->n);
	if (!base)
		return -ENOMEM;
	*used += p->n * sizeof(uint64_t);
	t->nodes->v[now->node] =
		KCM_FL_NODE(dim->field, dim->low + c->block - c->bits, c->bits, base);
	ret = fill_lists(t, now, c, p);
	if (!ret)
		ret = build_kinds(t, now, c, p, base, budget, used);
	t->stack.n = stack;
	return ret;
}

/* With no more than @budget bytes; @used: what it took, less if lists were there already. */
static int build(struct flow_tree *t, struct todo *now, uint64_t budget, int64_t *used)
{
	struct flow_cut cut;
	int ret;

	if (now->n <= KCM_FL_LEAF || now->depth + 1 >= KCM_FL_DEPTH ||
	    !flow_cut_choose(t, t->stack.v + now->list, now->n, &now->region, budget, &cut))
		return leaf(t, now, used);
	/* The choice was by a sample: all of the rules may need more. */
	for (; cut.bits; cut.bits--) {
		struct parts p = { 0 };

		ret = cut_up(t, now, &cut, &p, budget, used);
		free(p.kind);
		if (ret != -ENOSPC)
			return ret;
	}
	return leaf(t, now, used);
}

uint32_t flow_tree_build(struct flow_tree *t, uint64_t budget)
{
	struct todo all = { .node = flow_nodes_add(t->nodes, 1), .n = t->n };
	int64_t used = 0;

	if (!all.node || push(&t->stack, t->n, &all.list))
		return 0;
	for (uint32_t i = 0; i < t->n; i++)
		t->stack.v[all.list + i] = i;
	for (unsigned int d = 0; d < t->dims; d++)
		all.region.bits[d] = t->dim[d].width;
	return build(t, &all, budget, &used) ? 0 : all.node;
}
