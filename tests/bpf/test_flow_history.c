// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * test_flow_history.c - is a verdict ever stale? Two CPUs judge packets while policies come and
 * go, and each packet is held against what was in force when it was judged. Then the same with
 * programs that leave out one of the steps that make it so: of each of them it must be noticed.
 *
 * KCM_SOAK=1: 10^8 packets and 10^4 operations instead of 10^7 and 10^3. KCM_SEED=N varies a run,
 * KCM_TEST=NAME runs one test.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <linux/types.h>
#include "flowhist.h"
#include "flowgen.skel.h"
#include "flowhist_policies.h"
#include "flowhist_test.h"

#define CACHE_ANEW 8192

/* ---- everything at once ---- */

/* A few changes, which flows are checked against singly, or many, after which all are judged anew.
 */
static void change_some(struct hist_set *s)
{
	uint32_t n = chance(3) ? 1 + chance(6) : POLICIES;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t p = chance(POLICIES);

		if (chance(4))
			s->on[p] = chance(8) != 0;
		else if (s->on[p])
			s->version[p]++;
	}
	if (!chance(12))
		s->drop = !s->drop;
}

static void load_again(struct hist *h, const struct hist_set *s, uint32_t cache)
{
	flow_inst_close(&h->inst);
	hist_call(h);
	MUST(!hist_load(NULL, cache));
	done_op(h, s);
	hist_open_inst(h);
}

static void all_kinds(struct hist *h, struct hist_set *s, uint32_t round)
{
	static const uint32_t mask[] = { 0, 3, 63, 1023 };
	uint32_t from = chance(POLICIES), n = 0;

	if (chance(2))
		hist_only(h, ((uint64_t)chance(~0u) << 32 | chance(~0u)) | ALWAYS,
			  mask[chance(ARRAY_LEN(mask))]);
	change_some(s);
	replace(h, s);
	for (int i = 0; i < POLICIES && !chance(2); i++)
		if (!s->on[(from + i) % POLICIES]) {
			put_in(h, s, (from + i) % POLICIES);
			break;
		}
	for (int i = 0; i < POLICIES && n < 24; i++)
		if (s->on[(from + i) % POLICIES] && chance(8)) {
			take_out(h, s, (from + i) % POLICIES);
			n++;
		}
	if (round % 16 == 15)
		load_again(h, s, round % 32 == 31 ? CACHE_ANEW : CACHE);
}

static void never_stale(void **state)
{
	bool soak = getenv("KCM_SOAK") != NULL;
	uint64_t packets = soak ? 100000000 : 10000000;
	uint32_t operations = soak ? 10000 : 1000;
	struct hist_set s = { 0 };
	struct hist h;
	uint64_t begin_ns = hist_now();

	(void)state;
	hist_wrong = HIST_RIGHT;
	hist_slow_ns = 20000;
	hist_slow_mask = 255;
	hist_begin(&h, CACHE, operations + 100, RATE);
	for (uint32_t round = 0; h.operations < operations; round++)
		all_kinds(&h, &s, round);
	while (__atomic_load_n(&h.events.checked, __ATOMIC_RELAXED) < packets)
		assert_true(hist_more(&h, BATCH));
	assert_true(hist_end(&h));
	hist_unload();
	print_message("# %llu packets, %u operations, %.1f s: %llu during one that concerns them, "
		      "%llu stale\n",
		      (unsigned long long)h.events.checked, h.operations,
		      (double)(hist_now() - begin_ns) / 1e9, (unsigned long long)h.events.unsure,
		      (unsigned long long)h.events.violations);
	assert_true(h.events.checked >= packets);
	assert_true(h.events.unsure < h.events.checked / 2);
	assert_int_equal(h.events.violations, 0);
}

/* ---- each way to be wrong has a workload in which it shows ---- */

static void one_in_one_out(struct hist *h, struct hist_set *s, uint32_t round)
{
	int p = (int)(round % POLICIES);

	put_in(h, s, p);
	assert_true(hist_more(h, 4 * BATCH));
	take_out(h, s, p);
	assert_true(hist_more(h, 4 * BATCH));
}

/*
 * A flow that is silent while its policy is taken out, and while another one comes into that slot.
 * The slot is free after a program without the policy.
 */
static void slot_again(struct hist *h, struct hist_set *s, uint32_t round)
{
	(void)round;
	put_in(h, s, 0);
	assert_true(hist_more(h, 4 * BATCH));
	hist_only(h, ALWAYS, 0);
	take_out(h, s, 0);
	put_in(h, s, 1);
	put_in(h, s, 2);
	hist_only(h, ~0ull, 0);
	assert_true(hist_more(h, 4 * BATCH));
	take_out(h, s, 1);
	take_out(h, s, 2);
}

/* So many flows that some are always looked up anew, also while a program takes another's place. */
static void many_flows(struct hist *h, struct hist_set *s, uint32_t round)
{
	int p = SINGLE + (int)(round % (POLICIES - SINGLE));

	hist_only(h, ~0ull, 1023);
	put_in(h, s, p);
	assert_true(hist_more(h, 64 * BATCH));
	take_out(h, s, p);
}

/* Few flows, and their packets end long after they were judged. */
static void slow_packets(struct hist *h, struct hist_set *s, uint32_t round)
{
	(void)round;
	for (int p = 0; p < 8; p++)
		s->on[p] = true;
	replace(h, s);
	for (int p = 0; p < 8; p++) {
		hist_only(h, 1ull << p, 0);
		assert_true(hist_more(h, BATCH));
		take_out(h, s, p);
	}
}

struct way {
	const char *name;
	enum hist_wrong wrong;
	void (*work)(struct hist *h, struct hist_set *s, uint32_t round);
	uint32_t cache, slow_ns, slow_mask;
	uint32_t rounds;       /* of the right program, without a violation */
	uint32_t rounds_wrong; /* at most, until it was noticed */
};

#define WAYS 5

static uint64_t violations_of(const struct way *w, enum hist_wrong wrong, uint32_t *rounds)
{
	struct hist_set s = { 0 };
	struct hist h;
	uint32_t n = *rounds;

	hist_wrong = wrong;
	hist_slow_ns = w->slow_ns;
	hist_slow_mask = w->slow_mask;
	hist_begin(&h, w->cache, n * 32, RATE);
	for (*rounds = 0; *rounds < n; ++*rounds) {
		w->work(&h, &s, *rounds);
		if (__atomic_load_n(&h.events.violations, __ATOMIC_RELAXED))
			break;
	}
	assert_true(hist_end(&h));
	hist_unload();
	return h.events.violations;
}

static void is_noticed(void **state)
{
	const struct way *w = *state;
	uint32_t right = w->rounds, wrong = w->rounds_wrong;

	assert_int_equal(violations_of(w, HIST_RIGHT, &right), 0);
	assert_true(violations_of(w, w->wrong, &wrong) > 0);
	print_message("# %s: noticed in round %u of %u\n", w->name, wrong + 1, w->rounds_wrong);
}

static struct way ways[WAYS] = {
	{ "generations not compared on a hit", HIST_UNCHECKED, one_in_one_out, CACHE, 0, 0, 1, 4 },
	{ "changes not looked at", HIST_BLIND, one_in_one_out, CACHE, 0, 0, 1, 4 },
	{ "slots live or not, whoever is in them", HIST_BOOLEAN, slot_again, CACHE, 0, 0, 1, 4 },
	{ "genid read late", HIST_LATE, many_flows, 32 * CACHE, 0, 0, 3, 100 },
	{ "no grace period", HIST_NO_GRACE, slow_packets, CACHE, 100000, 7, 1, 30 },
};

static void without_membarrier(void **state)
{
	const struct way *slow = &ways[WAYS - 1];
	uint32_t rounds = slow->rounds;

	(void)state;
	refuse_membarrier = true;
	refused = 0;
	assert_int_equal(violations_of(slow, HIST_RIGHT, &rounds), 0);
	refuse_membarrier = false;
	assert_true(refused > 0);
}

int main(void)
{
	struct CMUnitTest tests[2 + WAYS] = { cmocka_unit_test(never_stale),
					      cmocka_unit_test(without_membarrier) };

	for (size_t i = 0; i < WAYS; i++)
		tests[2 + i] = (struct CMUnitTest){ .name = ways[i].name,
						    .test_func = is_noticed,
						    .initial_state = &ways[i] };
	return hist_main(tests, ARRAY_LEN(tests));
}
