// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* flow_tree.c - a set of policies as the XDP program looks it up. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../util.h"
#include "flow_form.h"
#include "flow_list.h"
#include "flow_tree.h"
#include "flow_tree_part.h"

/* What trees may take beyond one list of all rules: more of it makes few packets faster. */
#define SPARE_BYTES (1 << 20)
#define SPARE_LISTS 5

struct compiling {
	struct kcm_fl_rule4 *r4; /* of each policy */
	struct kcm_fl_rule6 *r6;
	uint32_t *list[KCM_FL_FAMILIES][KCM_FL_GROUPS]; /* policies of each tree */
	uint32_t n[KCM_FL_FAMILIES][KCM_FL_GROUPS];
	struct flow_pool pool4, pool6;
	struct flow_nodes nodes;
	struct flow_image img;
	char *why;
	size_t why_size;
};

static const struct flow_dim dims4[] = {
	{ KCM_FL_F_SADDR, 0, 32 }, { KCM_FL_F_DADDR, 0, 32 }, { KCM_FL_F_PORTS, 16, 16 },
	{ KCM_FL_F_PORTS, 0, 16 }, { KCM_FL_F_MISC, 0, 8 },   { KCM_FL_F_MISC, 8, 13 },
	{ KCM_FL_F_MISC, 28, 3 },
};

static const struct flow_dim dims6[FLOW_DIMS] = {
	{ KCM_FL_F_SADDR, 0, 32 },     { KCM_FL_F_SADDR + 1, 0, 32 }, { KCM_FL_F_SADDR + 2, 0, 32 },
	{ KCM_FL_F_SADDR + 3, 0, 32 }, { KCM_FL_F_DADDR, 0, 32 },     { KCM_FL_F_DADDR + 1, 0, 32 },
	{ KCM_FL_F_DADDR + 2, 0, 32 }, { KCM_FL_F_DADDR + 3, 0, 32 }, { KCM_FL_F_PORTS, 16, 16 },
	{ KCM_FL_F_PORTS, 0, 16 },     { KCM_FL_F_MISC, 0, 8 },	      { KCM_FL_F_MISC, 8, 13 },
	{ KCM_FL_F_MISC, 28, 3 },
};

_Static_assert(KCM_FL_IFS == 8, "as many as the dimension of interfaces has");

_printf_(3, 4) static int fail(struct compiling *c, int ret, const char *fmt, ...)
{
	va_list ap;

	if (!c->why || !c->why_size)
		return ret;
	va_start(ap, fmt);
	vsnprintf(c->why, c->why_size, fmt, ap);
	va_end(ap);
	return ret;
}

static int no_memory(struct compiling *c)
{
	return fail(c, -ENOMEM, "no memory to compile policies");
}

/* ---- rules as boxes ---- */

/* Word @i of a prefix; one that is negated, or a list, may be anything. */
static struct flow_span span_of_word(const uint32_t *addr, unsigned int len, uint8_t list,
				     unsigned int i)
{
	unsigned int rest = len > i * 32 ? len - i * 32 : 0;

	if (!rest || list & KCM_FL_ADDR_NOT)
		return (struct flow_span){ 0, ~0u };
	return (struct flow_span){ addr[i], rest < 32 ? addr[i] | ~0u >> rest : addr[i] };
}

static struct flow_span span_of_vlan(uint32_t vlan)
{
	switch (vlan & KCM_FL_VLAN_MODE) {
	case KCM_FL_VLAN_NONE:
		return (struct flow_span){ 0, 0 };
	case KCM_FL_VLAN_SOME:
		return (struct flow_span){ 0x1000, 0x1fff };
	case KCM_FL_VLAN_IS:
		vlan = 0x1000 | (vlan & KCM_FL_VLAN_ID);
		return (struct flow_span){ vlan, vlan };
	default:
		return (struct flow_span){ 0, 0x1fff };
	}
}

static void spans_of_cond(struct flow_span **to, uint32_t i, const struct kcm_fl_cond *c)
{
	uint32_t in = c->flags >> KCM_FL_IF_SHIFT;

	to[0][i] = (struct flow_span){ c->splo, c->sphi };
	to[1][i] = (struct flow_span){ c->dplo, c->dphi };
	to[2][i] = (struct flow_span){ 0, 0xff };
	if (c->flags & KCM_FL_HAS_PROTO)
		to[2][i] = (struct flow_span){ c->proto, c->proto };
	to[3][i] = span_of_vlan(KCM_FL_W_VLAN(c->where));
	to[4][i] = (struct flow_span){ in ? in - 1 : 0, in ? in - 1 : KCM_FL_IFS - 1 };
}

static void spans_of_rules(struct flow_tree *t, const struct compiling *c, int family)
{
	for (uint32_t i = 0; i < t->n; i++) {
		if (family == KCM_FL_IP6) {
			const struct kcm_fl_rule6 *r = &c->r6[t->policy[i]];

			for (unsigned int w = 0; w < 4; w++) {
				t->span[w][i] = span_of_word(r->saddr, r->c.slen, r->c.slist, w);
				t->span[4 + w][i] =
					span_of_word(r->daddr, r->c.dlen, r->c.dlist, w);
			}
			spans_of_cond(t->span + 8, i, &r->c);
		} else {
			const struct kcm_fl_rule4 *r = &c->r4[t->policy[i]];

			t->span[0][i] = span_of_word(&r->saddr, r->c.slen, r->c.slist, 0);
			t->span[1][i] = span_of_word(&r->daddr, r->c.dlen, r->c.dlist, 0);
			spans_of_cond(t->span + 2, i, &r->c);
		}
	}
}

/* ---- the trees ---- */

static int add_to(struct compiling *c, int family, uint32_t policy)
{
	uint32_t *n = &c->n[family][0], *list = c->list[family][0];

	if (!(*n & (*n - 1))) {
		list = realloc(list, (*n ? *n * 2 : 1) * sizeof(*list));
		if (!list)
			return no_memory(c);
		c->list[family][0] = list;
	}
	list[(*n)++] = policy;
	return 0;
}

static int one_policy(struct compiling *c, const struct flow_set *set, uint32_t i,
		      const uint32_t *ifindex, uint32_t n_if, uint32_t slot)
{
	const struct flow_policy *p = &set->policy[i];
	unsigned int f;
	int ret = 0;

	if (flow_form_in(p, ifindex, n_if) < 0)
		return fail(c, -ENODEV,
			    "policy in line %u: interface '%s' is none of this instance's", p->line,
			    p->in);
	if ((p->src.is_list && p->src.list >= set->lists) ||
	    (p->dst.is_list && p->dst.list >= set->lists))
		return fail(c, -EINVAL, "policy in line %u: its list is not in the set", p->line);
	f = flow_forms(p, ifindex, n_if, slot, i, &c->r4[i], &c->r6[i]);
	c->img.tcp_mask |= p->tcp_mask;
	for (int family = 0; family < KCM_FL_FAMILIES && !ret; family++)
		if (f & 1 << family)
			ret = add_to(c, family, i);
	return ret;
}

static size_t rule_bytes(int family)
{
	return family == KCM_FL_IP6 ? sizeof(struct kcm_fl_rule6) : sizeof(struct kcm_fl_rule4);
}

static int one_tree(struct compiling *c, int family, int group, uint64_t budget)
{
	struct flow_tree *t = calloc(1, sizeof(*t));
	struct flow_span *spans = NULL;
	uint32_t root = 0;

	if (!t)
		return no_memory(c);
	t->dim = family == KCM_FL_IP6 ? dims6 : dims4;
	t->dims = family == KCM_FL_IP6 ? ARRAY_LEN(dims6) : ARRAY_LEN(dims4);
	t->policy = c->list[family][group];
	t->n = c->n[family][group];
	t->rule_bytes = rule_bytes(family);
	t->pool = family == KCM_FL_IP6 ? &c->pool6 : &c->pool4;
	t->nodes = &c->nodes;
	spans = malloc((size_t)t->n * t->dims * sizeof(*spans));
	if (spans) {
		for (unsigned int d = 0; d < t->dims; d++)
			t->span[d] = spans + (size_t)d * t->n;
		spans_of_rules(t, c, family);
		root = flow_tree_build(t, budget);
	}
	c->img.root[family][group] = root;
	c->img.rank[family][group] = t->policy[0];
	if (t->depth > c->img.depth)
		c->img.depth = t->depth;
	if (t->leaf_max > c->img.leaf_max)
		c->img.leaf_max = t->leaf_max;
	free(spans);
	free(t->stack.v);
	free(t);
	return root ? 0 : no_memory(c);
}

/* Without node 0. */
static uint64_t used_bytes(const struct compiling *c)
{
	return (c->nodes.n ? c->nodes.n - 1 : 0) * sizeof(uint64_t) +
	       c->pool4.n * sizeof(struct kcm_fl_rule4) + c->pool6.n * sizeof(struct kcm_fl_rule6);
}

/* Each tree gets what a list of its rules takes, and of the rest a share by that. */
static int all_trees(struct compiling *c, size_t max_bytes)
{
	uint64_t least[KCM_FL_FAMILIES][KCM_FL_GROUPS], sum = 0, bound;
	int ret = 0;

	for (int f = 0; f < KCM_FL_FAMILIES; f++) {
		for (int g = 0; g < KCM_FL_GROUPS; g++) {
			least[f][g] =
				c->n[f][g] ? c->n[f][g] * rule_bytes(f) + sizeof(uint64_t) : 0;
			sum += least[f][g];
		}
	}
	if (sum + sizeof(uint64_t) > max_bytes)
		return fail(c, -ENOMEM, "policies need at least %llu bytes, %zu are allowed",
			    (unsigned long long)sum + sizeof(uint64_t), max_bytes);
	bound = sum * (SPARE_LISTS + 1) + SPARE_BYTES;
	bound = (bound < max_bytes ? bound : max_bytes) - sizeof(uint64_t);
	for (int f = 0; f < KCM_FL_FAMILIES && !ret; f++) {
		for (int g = 0; g < KCM_FL_GROUPS && !ret; g++) {
			uint64_t spare = bound - used_bytes(c) - sum;

			if (!c->n[f][g])
				continue;
			ret = one_tree(c, f, g,
				       least[f][g] - sizeof(uint64_t) +
					       (uint64_t)(spare * ((double)least[f][g] / sum)));
			sum -= least[f][g];
		}
	}
	return ret;
}

/* ---- the image ---- */

static int take_rules(struct compiling *c)
{
	struct flow_image *img = &c->img;

	img->n_r4 = c->pool4.n;
	img->n_r6 = c->pool6.n;
	img->r4 = malloc((c->pool4.n + 1) * sizeof(*img->r4));
	img->r6 = malloc((c->pool6.n + 1) * sizeof(*img->r6));
	if (!img->r4 || !img->r6)
		return no_memory(c);
	for (uint32_t i = 0; i < img->n_r4; i++)
		img->r4[i] = c->r4[c->pool4.id[i]];
	for (uint32_t i = 0; i < img->n_r6; i++)
		img->r6[i] = c->r6[c->pool6.id[i]];
	if (!c->nodes.n && !(c->nodes.v = calloc(1, sizeof(uint64_t))))
		return no_memory(c);
	img->nodes = c->nodes.n ? c->nodes.n : 1;
	img->node = TAKE_PTR(c->nodes.v);
	return 0;
}

static int compile(struct compiling *c, const struct flow_set *set, const uint32_t *slot,
		   const uint32_t *ifindex, uint32_t n_if, bool lists_kept, size_t max_bytes)
{
	struct flow_image *img = &c->img;
	int ret = 0;

	if (set->n > KCM_FL_POLICIES_MAX || set->lists > FLOW_LISTS)
		return fail(c, -E2BIG, "%zu policies with %zu lists: there may be %u and %u",
			    set->n, set->lists, KCM_FL_POLICIES_MAX, FLOW_LISTS);
	c->r4 = malloc((set->n + 1) * sizeof(*c->r4));
	c->r6 = malloc((set->n + 1) * sizeof(*c->r6));
	c->pool4.last = calloc(set->n + 1, sizeof(uint32_t));
	c->pool6.last = calloc(set->n + 1, sizeof(uint32_t));
	if (!c->r4 || !c->r6 || !c->pool4.last || !c->pool6.last)
		return no_memory(c);
	for (uint32_t i = 0; i < set->n && !ret; i++)
		ret = one_policy(c, set, i, ifindex, n_if, slot[i]);
	if (!ret && (flow_group_split(c->r4, NULL, c->list[KCM_FL_IP4], c->n[KCM_FL_IP4]) ||
		     flow_group_split(c->r4, c->r6, c->list[KCM_FL_IP6], c->n[KCM_FL_IP6])))
		ret = no_memory(c);
	if (!ret)
		ret = all_trees(c, max_bytes);
	if (!ret)
		ret = take_rules(c);
	if (!ret && !lists_kept) {
		ret = flow_list_iv4(set->list, set->lists, &img->iv4, &img->n_iv4);
		if (!ret)
			ret = flow_list_iv6(set->list, set->lists, &img->iv6, &img->n_iv6);
		if (ret)
			fail(c, ret, "lists of addresses: %s", strerror(-ret));
	}
	img->bytes = img->nodes * sizeof(*img->node) + img->n_r4 * sizeof(*img->r4) +
		     img->n_r6 * sizeof(*img->r6) + img->n_iv4 * sizeof(*img->iv4) +
		     img->n_iv6 * sizeof(*img->iv6);
	return ret;
}

int flow_compile(const struct flow_set *set, const uint32_t *slot, const uint32_t *ifindex,
		 uint32_t n_if, bool lists_kept, size_t max_bytes, struct flow_image *img,
		 char *why, size_t why_size)
{
	struct compiling c = { .why = why, .why_size = why_size };
	int ret = compile(&c, set, slot, ifindex, n_if, lists_kept, max_bytes);

	for (int f = 0; f < KCM_FL_FAMILIES; f++)
		for (int g = 0; g < KCM_FL_GROUPS; g++)
			free(c.list[f][g]);
	flow_pool_free(&c.pool4);
	flow_pool_free(&c.pool6);
	free(c.nodes.v);
	free(c.r4);
	free(c.r6);
	if (ret)
		flow_image_free(&c.img);
	else
		*img = c.img;
	return ret;
}

void flow_image_free(struct flow_image *img)
{
	free(img->node);
	free(img->r4);
	free(img->r6);
	free(img->iv4);
	free(img->iv6);
	memset(img, 0, sizeof(*img));
}
