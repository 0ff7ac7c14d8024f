// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * test_flow_lockstep.c - random sets of policies are compiled and put into the program, random
 * packets are given to it, and the policy that it says decides must be the one that flow_model.h
 * finds among those that live. KCM_SEED=N repeats or varies a run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "flow_kernel.h"
#include "flow_pkt.h"

static struct sets sets;
static uint64_t first_seed;
static unsigned long headers[3], decided[3], long_leaves;

static uint32_t ask(const struct kernel_set *l, const struct flow_header *h, unsigned int vary)
{
	unsigned char pkt[PKT_BYTES];
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = pkt,
		    .data_size_in = pkt_make(pkt, h, vary));

	assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(l->skel->progs.kcm_fl_try), &opts),
			 0);
	return opts.retval;
}

static void wrong(const struct kernel_set *l, const struct flow_header *h, uint32_t slot,
		  size_t place)
{
	const uint8_t *s = h->saddr, *d = h->daddr;
	uint32_t is = slot < l->slots ? l->place_of[slot] : 0;

	fail_msg("of %zu policies, slot %u decides (policy %d), but it is policy %d's: family %u"
		 " %02x%02x%02x%02x:%u -> %02x%02x%02x%02x:%u proto %u frag %u vlan %d flags %02x"
		 " icmp %d/%d (KCM_SEED=%llu)",
		 l->set.n, slot, (int)is - 1, place == l->set.n ? -1 : (int)place, h->family, s[0],
		 s[1], s[2], s[3], h->sport, d[0], d[1], d[2], d[3], h->dport, h->proto, h->frag,
		 h->tagged ? h->vlan_id : -1, h->tcp_flags, h->icmp_type, h->icmp_code,
		 (unsigned long long)first_seed);
}

/* Return: how many of @n headers of each family are judged differently. */
static unsigned long compare(const struct kernel_set *l, unsigned int n, bool tell)
{
	static const uint8_t family[] = { 0, 4, 6 };
	unsigned long bad = 0;

	for (unsigned int i = 0; i < n * 3; i++) {
		struct flow_verdict v = { 0 };
		struct flow_header h;
		uint32_t slot, want;
		size_t place;

		sets_header(&sets, &l->set, family[i % 3], LO, &h);
		slot = ask(l, &h, sets_below(&sets, 1 << 16));
		flow_model_run(l->model, &h, &v);
		place = v.policy == FLOW_NOBODY ? l->set.n : l->live_place[v.policy];
		want = place < l->set.n			    ? l->slot[place]
		       : l->set.default_action == FLOW_DROP ? KCM_FL_SLOT_DROP
							    : KCM_FL_SLOT_PASS;
		headers[i % 3]++;
		decided[i % 3] += place < l->set.n;
		if (slot != want && tell)
			wrong(l, &h, slot, place);
		bad += slot != want;
	}
	return bad;
}

static void run(enum sets_style style, size_t n, unsigned int count, size_t max_bytes)
{
	struct kernel_set l;

	kernel_make(&l, &sets, style, n, max_bytes, false);
	long_leaves += l.img.leaf_max > KCM_FL_LEAF;
	compare(&l, count, true);
	kernel_drop(&l);
}

/* 10 to 300 policies, of every style. */
static void small_sets(void **state)
{
	(void)state;
	for (int i = 0; i < 25; i++)
		for (int style = 0; style < SETS_STYLES; style++)
			run(style,
			    sets_below(&sets, 4) ? 10 + sets_below(&sets, 290)
						 : sets_below(&sets, 12),
			    5500, MAX_BYTES);
}

static void large_sets(void **state)
{
	(void)state;
	for (int style = 0; style < SETS_STYLES; style++) {
		run(style, 1000 + sets_below(&sets, 1000), 8000, MAX_BYTES);
		run(style, 10000, 1000, MAX_BYTES);
	}
	run(SETS_ACL, 100000, 300, MAX_BYTES);
	run(SETS_MIXED, 100000, 300, MAX_BYTES);
}

/* Hardly more memory than the policies are: leaves are long, and looked through. */
static void little_memory(void **state)
{
	(void)state;
	for (int style = 0; style < SETS_STYLES; style++)
		run(style, 1000, 1000, 160 << 10);
	assert_true(long_leaves > 0);
}

/* Nodes that lead one part too far: this test would notice. */
static void wrong_trees_show(void **state)
{
	struct kernel_set l;
	uint64_t *node;
	unsigned long bad;

	(void)state;
	kernel_make(&l, &sets, SETS_ACL, 1000, MAX_BYTES, false);
	node = kernel_map(l.skel->maps.kcm_fl_node, l.img.nodes * sizeof(*node));
	for (int f = 0; f < KCM_FL_FAMILIES; f++) {
		for (int g = 0; g < KCM_FL_GROUPS; g++) {
			uint32_t root = l.img.root[f][g];

			if (root && !(node[root] & KCM_FL_N_LEAF))
				node[root]++;
		}
	}
	bad = compare(&l, 2000, false);
	munmap(node, kernel_pages(l.img.nodes * sizeof(*node)));
	kernel_drop(&l);
	print_message("# with each first cut off by one, %lu of 6000 differ\n", bad);
	assert_true(bad > 10);
}

/* It was not all the default action, nor the same policy. */
static void enough(void **state)
{
	(void)state;
	print_message(
		"# headers: %lu other, %lu IPv4, %lu IPv6; a policy decided on %lu, %lu, %lu\n",
		headers[0], headers[1], headers[2], decided[0], decided[1], decided[2]);
	for (int i = 0; i < 3; i++) {
		assert_true(headers[i] >= 1000000);
		assert_true(decided[i] > headers[i] / 100 && decided[i] < headers[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(small_sets),	 cmocka_unit_test(large_sets),
		cmocka_unit_test(little_memory), cmocka_unit_test(wrong_trees_show),
		cmocka_unit_test(enough),
	};

	first_seed = getenv("KCM_SEED") ? strtoull(getenv("KCM_SEED"), NULL, 0) : 0x6b636d31;
	sets.seed = first_seed = first_seed ? first_seed : 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
