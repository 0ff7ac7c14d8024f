// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * flow_tree_group.c - which rules get a tree of their own.
 *
 * In one tree, a rule that is wide in an address would be in the lists of all parts of each cut of
 * that address. So there are four: wide or not, in both addresses. Wide is a prefix with many of
 * the other rules' prefixes inside of it, and what may be any address. A fixed length would not do:
 * all addresses of a site may be in one /32 of IPv6.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "../util.h"
#include "flow_tree_part.h"

#define SAMPLE	   4096 /* prefixes that others are compared with */
#define WIDE_SHARE 256	/* wide is one with more than 1/256 of these inside, */
#define WIDE_LEAST 15	/* and more than 15 */

struct prefix {
	const uint32_t *addr;
	uint8_t len;
};

struct side {
	bool dst;
	uint32_t n;
	uint32_t words;		      /* of an address */
	struct prefix sample[SAMPLE]; /* lowest address first, then shortest first */
};

struct rules {
	const struct kcm_fl_rule4 *r4;
	const struct kcm_fl_rule6 *r6; /* NULL: of IPv4 */
};

/* Length 0: any address. */
static struct prefix prefix_of(const struct rules *r, uint32_t i, bool dst)
{
	const struct kcm_fl_cond *c = r->r6 ? &r->r6[i].c : &r->r4[i].c;
	uint8_t list = dst ? c->dlist : c->slist;
	struct prefix p = { .len = list & KCM_FL_ADDR_NOT ? 0 : dst ? c->dlen : c->slen };

	if (r->r6)
		p.addr = dst ? r->r6[i].daddr : r->r6[i].saddr;
	else
		p.addr = dst ? &r->r4[i].daddr : &r->r4[i].saddr;
	return p;
}

/* @end: compare with the last address of @p, and else with a prefix that is longer by one. */
static int order(const struct prefix *a, const struct prefix *p, unsigned int words, bool end)
{
	for (unsigned int i = 0; i < words; i++) {
		unsigned int rest = p->len > i * 32 ? p->len - i * 32 : 0;
		uint32_t word = p->addr[i] | (!end || rest > 31 ? 0 : ~0u >> rest);

		if (a->addr[i] != word)
			return a->addr[i] < word ? -1 : 1;
	}
	return end ? -1 : a->len - p->len - 1;
}

static int lowest_first(const void *a, const void *b, void *words)
{
	return order(a, b, *(uint32_t *)words, false) + 1;
}

/* How many of the sample are before it, see order(). */
static uint32_t before(const struct side *s, const struct prefix *p, bool end)
{
	uint32_t lo = 0, hi = s->n;

	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;

		if (order(&s->sample[mid], p, s->words, end) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static void take_sample(struct side *s, const struct rules *r, const uint32_t *list, uint32_t n)
{
	uint32_t some = 0, every, seen = 0;

	for (uint32_t i = 0; i < n; i++)
		some += prefix_of(r, list[i], s->dst).len > 0;
	every = (some + SAMPLE - 1) / SAMPLE;
	s->n = 0;
	for (uint32_t i = 0; i < n; i++) {
		struct prefix p = prefix_of(r, list[i], s->dst);

		if (p.len && seen++ % every == 0)
			s->sample[s->n++] = p;
	}
	s->words = r->r6 ? 4 : 1;
	qsort_r(s->sample, s->n, sizeof(s->sample[0]), lowest_first, &s->words);
}

static bool is_wide(const struct side *s, struct prefix p)
{
	uint32_t inside;

	if (!p.len)
		return true;
	/* Only what is longer can begin within it. */
	inside = before(s, &p, true) - before(s, &p, false);
	return inside > WIDE_LEAST && inside * WIDE_SHARE > s->n;
}

int flow_group_split(const struct kcm_fl_rule4 *r4, const struct kcm_fl_rule6 *r6,
		     uint32_t *list[KCM_FL_GROUPS], uint32_t n[KCM_FL_GROUPS])
{
	struct rules r = { r4, r6 };
	_cleanup_free_ struct side *side = NULL;
	uint32_t all = n[0], kept = 0;

	if (all <= KCM_FL_LEAF)
		return 0;
	side = calloc(2, sizeof(*side));
	if (!side)
		return -ENOMEM;
	side[1].dst = true;
	take_sample(&side[0], &r, list[0], all);
	take_sample(&side[1], &r, list[0], all);
	for (int g = 1; g < KCM_FL_GROUPS; g++) {
		list[g] = malloc(all * sizeof(*list[g]));
		if (!list[g])
			return -ENOMEM;
	}
	for (uint32_t i = 0; i < all; i++) {
		uint32_t policy = list[0][i];
		int g = !is_wide(&side[0], prefix_of(&r, policy, false)) << 1 |
			!is_wide(&side[1], prefix_of(&r, policy, true));

		list[g][g ? n[g]++ : kept++] = policy;
	}
	n[0] = kept;
	return 0;
}
