// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * flow_list.c - lists of addresses as intervals.
 *
 * Each prefix is two edges: where it starts, and behind its end. Over the sorted edges, a counter
 * for each list says how many prefixes are open (they may be nested, or there twice).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "flow_list.h"

typedef unsigned __int128 addr_t; /* host order; of IPv4 32 bits */

struct edge {
	uint64_t hi, lo;
	uint32_t list;
	int32_t step; /* 1: starts, -1: ends before here */
};

struct edges {
	struct edge *edge;
	size_t n;
};

struct sweep {
	uint32_t open[FLOW_LISTS];
	uint32_t lists; /* with an open prefix */
};

static void add(struct edges *e, addr_t at, uint32_t list, int step)
{
	e->edge[e->n++] = (struct edge){ (uint64_t)(at >> 64), (uint64_t)at, list, step };
}

static void add_prefix(struct edges *e, const struct flow_prefix *p, uint32_t list,
		       unsigned int bits)
{
	unsigned int len = p->len < bits ? p->len : bits, rest = bits - len;
	addr_t at = 0, size, top = bits == 32 ? (addr_t)UINT32_MAX : ~(addr_t)0;

	for (unsigned int i = 0; i < bits / 8; i++)
		at = at << 8 | p->addr[i];
	/* One less than it is: that of all addresses of IPv6 is 2^128. */
	size = rest == 128 ? ~(addr_t)0 : ((addr_t)1 << rest) - 1;
	at &= ~size;
	add(e, at, list, 1);
	if (at + size != top)
		add(e, at + size + 1, list, -1);
}

static int edges_of(struct edges *e, const struct flow_list *list, size_t n, uint8_t family)
{
	size_t prefixes = 0;

	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < list[i].n; k++)
			prefixes += list[i].prefix[k].family == family;
	if (!prefixes)
		return 0;
	if (prefixes > UINT32_MAX / 2 - 1)
		return -E2BIG;
	e->edge = malloc(prefixes * 2 * sizeof(*e->edge));
	if (!e->edge)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < list[i].n; k++)
			if (list[i].prefix[k].family == family)
				add_prefix(e, &list[i].prefix[k], i, family == 4 ? 32 : 128);
	return 0;
}

#define DIGIT 11 /* bits: as many counters as fit in the first level of caches */

/* By the 32 bits of IPv4. What is sorted by radix need not be compared, which is most of it all. */
static int sort4(struct edges *e)
{
	struct edge *from = e->edge, *to = malloc(e->n * sizeof(*to)), *t;
	static const size_t digits = 1 << DIGIT;
	size_t at[1 << DIGIT];

	if (!to)
		return -ENOMEM;
	for (unsigned int shift = 0; shift < 32; shift += DIGIT) {
		size_t sum = 0;

		memset(at, 0, sizeof(at));
		for (size_t i = 0; i < e->n; i++)
			at[from[i].lo >> shift & (digits - 1)]++;
		for (size_t i = 0; i < digits; i++) {
			size_t here = at[i];

			at[i] = sum;
			sum += here;
		}
		for (size_t i = 0; i < e->n; i++)
			to[at[from[i].lo >> shift & (digits - 1)]++] = from[i];
		t = from;
		from = to;
		to = t;
	}
	free(to);
	e->edge = from;
	return 0;
}

static int by_addr(const void *a, const void *b)
{
	const struct edge *x = a, *y = b;

	if (x->hi != y->hi)
		return x->hi < y->hi ? -1 : 1;
	return x->lo < y->lo ? -1 : x->lo > y->lo;
}

/* All edges at one address. Return: the first of the next one. */
static size_t step_on(struct sweep *s, const struct edges *e, size_t i)
{
	const struct edge *first = &e->edge[i];

	for (; i < e->n && e->edge[i].lo == first->lo && e->edge[i].hi == first->hi; i++) {
		uint32_t list = e->edge[i].list, bit = 1u << list;

		s->open[list] += e->edge[i].step;
		s->lists = s->open[list] ? s->lists | bit : s->lists & ~bit;
	}
	return i;
}

int flow_list_iv4(const struct flow_list *list, size_t n, struct kcm_fl_iv4 **iv, uint32_t *n_iv)
{
	struct edges e = { 0 };
	struct sweep s = { 0 };
	struct kcm_fl_iv4 *to = NULL;
	int ret = edges_of(&e, list, n, 4);

	*iv = NULL;
	*n_iv = 0;
	if (ret || !e.n)
		return ret;
	ret = sort4(&e);
	if (!ret && !(to = malloc((e.n + 1) * sizeof(*to))))
		ret = -ENOMEM;
	if (!ret) {
		uint32_t k = 0;

		to[k++] = (struct kcm_fl_iv4){ 0, 0 };
		for (size_t i = 0; i < e.n;) {
			uint32_t start = e.edge[i].lo;

			i = step_on(&s, &e, i);
			if (!start)
				to[0].lists = s.lists;
			else if (s.lists != to[k - 1].lists)
				to[k++] = (struct kcm_fl_iv4){ start, s.lists };
		}
		*n_iv = k;
		*iv = realloc(to, k * sizeof(*to)) ?: to;
	}
	free(e.edge);
	return ret;
}

int flow_list_iv6(const struct flow_list *list, size_t n, struct kcm_fl_iv6 **iv, uint32_t *n_iv)
{
	struct edges e = { 0 };
	struct sweep s = { 0 };
	struct kcm_fl_iv6 *to;
	int ret = edges_of(&e, list, n, 6);

	*iv = NULL;
	*n_iv = 0;
	if (ret || !e.n)
		return ret;
	qsort(e.edge, e.n, sizeof(*e.edge), by_addr);
	to = malloc((e.n + 1) * sizeof(*to));
	if (to) {
		uint32_t k = 0;

		to[k++] = (struct kcm_fl_iv6){ 0 };
		for (size_t i = 0; i < e.n;) {
			struct edge at = e.edge[i];

			i = step_on(&s, &e, i);
			if (!at.hi && !at.lo)
				to[0].lists = s.lists;
			else if (s.lists != to[k - 1].lists)
				to[k++] = (struct kcm_fl_iv6){ at.hi, at.lo, s.lists, 0 };
		}
		*n_iv = k;
		*iv = realloc(to, k * sizeof(*to)) ?: to;
	}
	free(e.edge);
	return to ? 0 : -ENOMEM;
}
