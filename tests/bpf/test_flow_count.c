// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * test_flow_count.c - random packets are judged by random sets of policies, of which many count or
 * sample on the way. Each policy must have counted the packets and bytes that flow_model.h says it
 * meets, each packet once. KCM_SEED=N repeats or varies a run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "flow_kernel.h"
#include "flow_pkt.h"

enum { SETS = 30, HEADERS = 3000, MET = 512 };

static struct sets sets;
static uint64_t first_seed;
static unsigned long met_none, met_one, met_more;

/* What the policies of slots must have counted. */
static void expect(const struct kernel_set *l, const struct flow_header *h, unsigned int len,
		   struct kcm_fl_count *want)
{
	size_t met[MET];
	struct flow_verdict v = { .met = met, .room = MET };
	uint32_t slot = l->set.default_action == FLOW_DROP ? KCM_FL_SLOT_DROP : KCM_FL_SLOT_PASS;

	flow_model_run(l->model, h, &v);
	assert_true(v.n_met <= MET);
	for (size_t i = 0; i < v.n_met; i++) {
		struct kcm_fl_count *c = &want[l->slot[l->live_place[met[i]]]];

		c->packets++;
		c->bytes += len;
	}
	if (v.policy != FLOW_NOBODY)
		slot = l->slot[l->live_place[v.policy]];
	want[slot].packets++;
	want[slot].bytes += len;
	met_none += v.n_met == 0;
	met_one += v.n_met == 1;
	met_more += v.n_met > 1;
}

static void compare(const struct kernel_set *l, const struct kcm_fl_count *want)
{
	size_t cpus = libbpf_num_possible_cpus(), bytes = cpus * l->slots * sizeof(*want);
	struct kcm_fl_count *cnt = kernel_map(l->skel->maps.kcm_fl_cnt, bytes);

	for (uint32_t slot = 0; slot < l->slots; slot++) {
		struct kcm_fl_count is = { 0 };

		for (size_t cpu = 0; cpu < cpus; cpu++) {
			is.packets += cnt[cpu * l->slots + slot].packets;
			is.bytes += cnt[cpu * l->slots + slot].bytes;
		}
		if (is.packets != want[slot].packets || is.bytes != want[slot].bytes)
			fail_msg("slot %u (policy %d of %zu) counted %llu packets, %llu bytes; met"
				 " %llu, %llu (KCM_SEED=%llu)",
				 slot, (int)l->place_of[slot] - 1, l->set.n, is.packets, is.bytes,
				 want[slot].packets, want[slot].bytes,
				 (unsigned long long)first_seed);
	}
	munmap(cnt, kernel_pages(bytes));
}

static void one_set(size_t n)
{
	static const uint8_t family[] = { 0, 4, 6 };
	struct kcm_fl_count *want;
	struct kernel_set l;

	kernel_make(&l, &sets, SETS_MIXED, n, MAX_BYTES, true);
	want = calloc(l.slots, sizeof(*want));
	for (unsigned int i = 0; i < HEADERS; i++) {
		unsigned char pkt[PKT_BYTES];
		struct flow_header h;
		LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = pkt);

		sets_header(&sets, &l.set, family[i % 3], LO, &h);
		opts.data_size_in = pkt_make(pkt, &h, sets_below(&sets, 1 << 16));
		assert_int_equal(
			bpf_prog_test_run_opts(bpf_program__fd(l.skel->progs.kcm_fl_xdp), &opts),
			0);
		expect(&l, &h, opts.data_size_in, want);
	}
	compare(&l, want);
	free(want);
	kernel_drop(&l);
}

static void each_once(void **state)
{
	(void)state;
	for (int i = 0; i < SETS; i++)
		one_set(3 + sets_below(&sets, i % 3 ? 60 : 1500));
	print_message("# packets that met none on the way: %lu, one: %lu, several: %lu\n", met_none,
		      met_one, met_more);
	assert_true(met_none > 1000 && met_one > 1000 && met_more > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(each_once) };

	first_seed = getenv("KCM_SEED") ? strtoull(getenv("KCM_SEED"), NULL, 0) : 0x6b636d31;
	sets.seed = first_seed = first_seed ? first_seed : 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
