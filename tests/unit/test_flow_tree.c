// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Trees of policies are whole, and within their memory. That the program finds the right policy in
 * them, tests/bpf/test_flow_lockstep.c checks.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cmocka_all.h"
#include "../bpf/flow_sets.h"
#include "flow_tree.h"

#define MANY (64u << 20) /* bytes */
#define ANY  .sport = { 0, UINT16_MAX }, .dport = { 0, UINT16_MAX }

static const uint32_t interfaces[] = { 11, 22, 33 };

struct walk {
	const struct flow_image *img;
	int family;
	uint32_t depth, leaf_max, leaves;
};

static void walk(struct walk *w, uint32_t node, uint32_t depth)
{
	const struct flow_image *img = w->img;
	uint64_t v;
	uint32_t n, rank = 0;

	assert_in_range(node, 1, img->nodes - 1);
	v = img->node[node];
	w->depth = depth > w->depth ? depth : w->depth;
	assert_true(depth <= KCM_FL_DEPTH);
	if (!(v & KCM_FL_N_LEAF)) {
		n = 1u << (v >> 40 & 31);
		assert_in_range(v >> 48 & 15, 0, KCM_FL_FIELDS - 1);
		for (uint32_t i = 0; i < n; i++)
			walk(w, (uint32_t)v + i, depth + 1);
		return;
	}
	n = v >> 32 & 0xffffff;
	w->leaf_max = n > w->leaf_max ? n : w->leaf_max;
	w->leaves++;
	assert_true((uint32_t)v + n <= (w->family == KCM_FL_IP6 ? img->n_r6 : img->n_r4));
	for (uint32_t i = 0; i < n; i++) {
		uint32_t at = (uint32_t)v + i;
		uint32_t r = KCM_FL_W_RANK(w->family == KCM_FL_IP6 ? img->r6[at].c.where
								   : img->r4[at].c.where);

		assert_true(!i || r > rank);
		rank = r;
	}
}

static size_t tree_bytes(const struct flow_image *img)
{
	return img->nodes * sizeof(*img->node) + img->n_r4 * sizeof(*img->r4) +
	       img->n_r6 * sizeof(*img->r6);
}

static void whole(const struct flow_image *img)
{
	struct walk w = { .img = img };

	for (w.family = 0; w.family < KCM_FL_FAMILIES; w.family++)
		for (int g = 0; g < KCM_FL_GROUPS; g++)
			if (img->root[w.family][g])
				walk(&w, img->root[w.family][g], 1);
	assert_int_equal(w.depth, img->depth);
	assert_int_equal(w.leaf_max, img->leaf_max);
	assert_int_equal(img->bytes, tree_bytes(img) + img->n_iv4 * sizeof(*img->iv4) +
					     img->n_iv6 * sizeof(*img->iv6));
}

static int compile(const struct flow_set *set, size_t max, struct flow_image *img, char *why)
{
	uint32_t *slot = calloc(set->n + 1, sizeof(*slot));
	int ret;

	for (size_t i = 0; i < set->n; i++)
		slot[i] = KCM_FL_SLOT_FIRST + i;
	ret = flow_compile(set, slot, interfaces, 3, false, max, img, why, 200);
	free(slot);
	return ret;
}

/* From what just suffices to plenty. */
static void within_memory(void **state)
{
	struct sets s = { .seed = 4711, .ifindex = { 11, 22, 33 }, .n_if = 3 };
	char why[200];

	(void)state;
	for (int style = 0; style < SETS_STYLES; style++) {
		struct flow_set set;
		struct flow_image img;
		size_t least = 1000, leaf_max = SIZE_MAX;

		sets_make(&s, &set, style, 1500);
		while (compile(&set, least, &img, why)) {
			unsigned long long needs;

			assert_int_equal(sscanf(why, "policies need at least %llu bytes", &needs),
					 1);
			assert_true(needs > least);
			least = needs;
		}
		assert_true(least > 1000);
		assert_true(tree_bytes(&img) <= least);
		flow_image_free(&img);
		assert_int_equal(compile(&set, least - 1, &img, why), -ENOMEM);
		for (size_t more = 1; more <= 64; more *= 8) {
			assert_int_equal(compile(&set, least * more, &img, why), 0);
			assert_true(tree_bytes(&img) <= least * more);
			whole(&img);
			assert_true(img.leaf_max <= leaf_max);
			leaf_max = more > 1 ? leaf_max : img.leaf_max;
			flow_image_free(&img);
		}
		sets_free(&set);
	}
}

/* Sets without any: of nothing, and of the same again and again. */
static void nothing_to_cut(void **state)
{
	static struct flow_policy same[1000];
	struct flow_set set = { .policy = same, .n = 0 };
	struct flow_image img;
	char why[200];

	(void)state;
	assert_int_equal(compile(&set, 8, &img, why), 0);
	assert_int_equal(img.nodes, 1);
	assert_int_equal(img.root[KCM_FL_IP4][0] | img.root[KCM_FL_OTHER][0], 0);
	flow_image_free(&img);
	for (int i = 0; i < 1000; i++)
		same[i] = (struct flow_policy){ ANY };
	set.n = 1000;
	assert_int_equal(compile(&set, MANY, &img, why), 0);
	whole(&img);
	assert_int_equal(img.leaf_max, 1000);
	assert_int_equal(img.depth, 1);
	assert_int_equal(img.n_r4, 1000); /* IPv4 and others share them */
	flow_image_free(&img);
}

static void split_by_port(void **state)
{
	static struct flow_policy p[4096];
	struct flow_set set = { .policy = p, .n = 4096 };
	struct flow_image img;
	char why[200];

	(void)state;
	for (int i = 0; i < 4096; i++)
		p[i] = (struct flow_policy){ .family = 4,
					     .sport = { 0, UINT16_MAX },
					     .dport = { i * 16, i * 16 } };
	assert_int_equal(compile(&set, MANY, &img, why), 0);
	whole(&img);
	assert_true(img.leaf_max <= KCM_FL_LEAF);
	assert_int_equal(img.n_r4, 4096); /* no copy of any */
	flow_image_free(&img);
}

static void what_is_wrong(void **state)
{
	struct flow_policy p[2] = { { ANY }, { ANY, .line = 12, .in = "eth9", .ifindex = 9 } };
	struct flow_set set = { .policy = p, .n = 2 };
	struct flow_image img;
	char why[200];

	(void)state;
	assert_int_equal(compile(&set, MANY, &img, why), -ENODEV);
	assert_non_null(strstr(why, "line 12"));
	assert_non_null(strstr(why, "eth9"));
	p[1].ifindex = 0; /* was not looked up */
	assert_int_equal(compile(&set, MANY, &img, why), -ENODEV);
	p[1] = (struct flow_policy){ ANY, .line = 13, .dst = { .is_list = true, .list = 3 } };
	set.lists = 3;
	assert_int_equal(compile(&set, MANY, &img, why), -EINVAL);
	assert_non_null(strstr(why, "line 13"));
	set.lists = FLOW_LISTS + 1;
	assert_int_equal(compile(&set, MANY, &img, why), -E2BIG);
}

static void lists_as_they_are(void **state)
{
	struct flow_prefix prefix = { .addr = { 10 }, .family = 4, .len = 8 };
	struct flow_policy p = { ANY, .src = { .is_list = true } };
	struct flow_set set = {
		.policy = &p, .n = 1, .list[0] = { .prefix = &prefix, .n = 1 }, .lists = 1
	};
	struct flow_image img;
	uint32_t slot = 2;

	(void)state;
	assert_int_equal(flow_compile(&set, &slot, NULL, 0, true, MANY, &img, NULL, 0), 0);
	assert_true(!img.iv4 && !img.n_iv4 && img.n_r4 == 1);
	flow_image_free(&img);
	assert_int_equal(flow_compile(&set, &slot, NULL, 0, false, MANY, &img, NULL, 0), 0);
	assert_int_equal(img.n_iv4, 3);
	flow_image_free(&img);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(within_memory),     cmocka_unit_test(nothing_to_cut),
		cmocka_unit_test(split_by_port),     cmocka_unit_test(what_is_wrong),
		cmocka_unit_test(lists_as_they_are),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
