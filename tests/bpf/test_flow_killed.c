// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * test_flow_killed.c - changes to flow's policies that fail or are killed with some interfaces
 * changed and others not, under traffic: no verdict is stale before, after, or in between. See
 * test_flow_history.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sys/wait.h>
#include <linux/types.h>
#include "flowhist.h"
#include "flowgen.skel.h"
#include "flowhist_policies.h"
#include "flowhist_test.h"

/* ---- a program that came in force on one interface only, and was taken back ---- */

static struct hist *failing;

static void first_interface_only(void)
{
	/* Every flow is judged by the new program, and no packet comes by the old one afterwards.
	 */
	MUST(hist_more(failing, 4 * BATCH));
	hist_only(failing, ALWAYS, 0);
}

static void taken_back(void **state)
{
	struct hist_set s = { 0 }, other;
	struct hist h;
	char why[256] = "";

	(void)state;
	hist_wrong = HIST_RIGHT;
	hist_slow_ns = 0;
	hist_begin(&h, CACHE, 100, RATE);
	failing = &h;
	before_failure = first_interface_only;
	for (int p = 0; p < 4; p++) {
		/* For a moment, a few flows are dropped on one of the interfaces: that is right. */
		hist_only(&h, ~(0xfull << SINGLE), 0);
		other = s;
		other.on[SINGLE] = true;
		updates_until_failure = CPUS;
		hist_call(&h);
		assert_int_equal(try_replace(&h, &other, why, sizeof(why)), -ENOMEM);
		assert_non_null(strstr(why, "bpf_link_update"));
		assert_int_equal(updates_until_failure, 0);
		done_op(&h, &s);
		/* Who was judged by the program that failed is not judged so any more. */
		put_in(&h, &s, p);
		hist_only(&h, ~0ull, 0);
		assert_true(hist_more(&h, 4 * BATCH));
	}
	assert_true(hist_end(&h));
	hist_unload();
	assert_int_equal(h.events.violations, 0);
}

/* ---- killed between any two steps ---- */

struct death {
	const char *when;
	int updates, graces;
	bool is_new;	/* afterwards */
	int finish_too; /* who finishes it is killed at this update */
};

static void die_replacing(const struct hist_set *s, const struct death *d)
{
	struct hist child = { .inst = FLOW_INST_NONE };
	char why[256];

	hist_open_inst(&child);
	updates_until_death = d->updates;
	graces_until_death = d->graces;
	try_replace(&child, s, why, sizeof(why));
	_exit(0);
}

static void die_finishing(const struct death *d)
{
	struct hist child = { .inst = FLOW_INST_NONE };

	updates_until_death = d->finish_too;
	hist_open_inst(&child);
	_exit(0);
}

static void wait_for_death(pid_t pid)
{
	int status;

	MUST(pid > 0);
	MUST(waitpid(pid, &status, 0) == pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static uint32_t live_slots(const struct flow_inst *f)
{
	uint32_t n = 0;

	for (__u32 i = KCM_FL_SLOT_FIRST; i < f->conf.slots; i++)
		n += f->pol[i].gen & 1;
	return n;
}

static uint32_t live_lines(const struct flow_inst *f)
{
	uint32_t n = 0;

	for (__u32 i = 0; i < f->conf.policies; i++)
		n += flow_line_lives(f, i);
	return n;
}

static void killed(void **state)
{
	static const struct death deaths[] = {
		{ "before the first interface", 1, 0, false, 0 },
		{ "between two interfaces", 2, 0, true, 0 },
		{ "between two interfaces, and who finishes it", 2, 0, true, 1 },
		{ "before the time that programs need", 0, 1, true, 0 },
	};
	struct hist_set s = { 0 };
	struct hist h;

	(void)state;
	hist_wrong = HIST_RIGHT;
	hist_slow_ns = 0;
	hist_begin(&h, CACHE, 100, RATE);
	for (size_t i = 0; i < 3 * ARRAY_LEN(deaths); i++) {
		const struct death *d = &deaths[i % ARRAY_LEN(deaths)];
		struct hist_set other = s;
		pid_t pid;

		for (int p = 0; p < POLICIES; p++)
			other.on[p] = (p + i) % 3 == 0 || (p % 8 == 7 && chance(2));
		assert_true(hist_more(&h, BATCH));
		flow_inst_close(&h.inst);
		hist_call(&h);
		pid = fork();
		if (!pid)
			die_replacing(&other, d);
		wait_for_death(pid);
		assert_true(__atomic_load_n(&h.at[0].head, __ATOMIC_RELAXED) > 0);
		if (d->finish_too) {
			pid = fork();
			if (!pid)
				die_finishing(d);
			wait_for_death(pid);
		}
		hist_open_inst(&h);
		if (d->is_new)
			s = other;
		done_op(&h, &s);
		if (live_slots(&h.inst) != live_lines(&h.inst))
			fail_msg("killed %s: %u slots in use, %u policies", d->when,
				 live_slots(&h.inst), live_lines(&h.inst));
		assert_true(hist_more(&h, 4 * BATCH));
	}
	assert_true(hist_end(&h));
	hist_unload();
	assert_int_equal(h.events.violations, 0);
}

/* ---- the last number that a program may have ---- */

static void used_up(void **state)
{
	struct hist_set s = { 0 }, other;
	struct hist h;
	char why[256] = "";

	(void)state;
	hist_wrong = HIST_RIGHT;
	hist_slow_ns = 0;
	hist_begin(&h, CACHE, 100, RATE);
	assert_true(hist_more(&h, BATCH));
	h.inst.pol[KCM_FL_SLOT_PASS].genid = UINT32_MAX - 1;
	put_in(&h, &s, 1);
	assert_int_equal(h.inst.conf.genid, UINT32_MAX);
	assert_true(hist_more(&h, 4 * BATCH));
	other = s;
	other.on[2] = true;
	hist_call(&h);
	assert_int_equal(try_replace(&h, &other, why, sizeof(why)), -EOVERFLOW);
	assert_non_null(strstr(why, "unload it"));
	done_op(&h, &s);
	assert_true(hist_more(&h, 4 * BATCH));
	take_out(&h, &s, 1);
	assert_true(hist_more(&h, 4 * BATCH));
	assert_true(hist_end(&h));
	hist_unload();
	assert_int_equal(h.events.violations, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(taken_back),
		cmocka_unit_test(killed),
		cmocka_unit_test(used_up),
	};

	return hist_main(tests, ARRAY_LEN(tests));
}
