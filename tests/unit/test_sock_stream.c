// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * test_sock_stream.c - random streams of every framing, cut into random segments: sock finds the
 * messages that are there. KCM_SEED=N repeats or varies a run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "frame_gen.h"
#include "stream_feed.h"

enum { DESCRIPTORS = 400, STREAMS = 40, STREAM_BYTES = 24000, ROOM = STREAM_BYTES + 65536 };

static unsigned int first_seed, seed;
static unsigned long messages, errors;

static void one_stream(const char *desc, const struct kcm_frame *f)
{
	static unsigned char data[ROOM];
	static struct stream_result model, got;
	struct feed in = { .frame = f, .data = data };
	char why[200];

	in.told = gen_below(&seed, 2) ? 0 : KCM_FS_REPLY | gen_below(&seed, 4);
	in.len = gen_stream(f, &seed, in.told, data, gen_below(&seed, STREAM_BYTES) + 1);
	stream_model(&in, &model);
	for (unsigned int i = 0; i < 4; i++) {
		in.seed = i < 2 ? i : (feed_random(&seed) | 2);
		in.fill = gen_below(&seed, 256);
		stream_run(&in, &got);
		if (stream_differs(&in, &model, &got, why, sizeof(why)))
			fail_msg("%s, told %u, seed %u of KCM_SEED=%u: %s", desc, in.told, in.seed,
				 first_seed, why);
	}
	messages += model.n;
	errors += model.err < 0;
}

static void presets(void **state)
{
	struct kcm_frame f;

	(void)state;
	for (const struct kcm_frame_preset *p = kcm_frame_presets(); p->name; p++) {
		assert_int_equal(kcm_frame_parse(p->name, &f, NULL, 0), 0);
		for (int i = 0; i < 3 * STREAMS; i++)
			one_stream(p->name, &f);
	}
}

static void random_descriptors(void **state)
{
	char desc[KCM_FRAME_TEXT_BYTES];
	struct kcm_frame f;

	(void)state;
	for (int n = 0; n < DESCRIPTORS;) {
		gen_descriptor(&seed, desc, sizeof(desc));
		if (kcm_frame_parse(desc, &f, NULL, 0)) /* a mask or maximum that cannot be */
			continue;
		for (int i = 0; i < STREAMS; i++)
			one_stream(desc, &f);
		n++;
	}
}

/* the streams were neither all damaged nor all harmless */
static void both_outcomes(void **state)
{
	(void)state;
	print_message("%lu messages, %lu streams with an error\n", messages, errors);
	assert_true(messages > 10000);
	assert_true(errors > 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(presets),
		cmocka_unit_test(random_descriptors),
		cmocka_unit_test(both_outcomes),
	};

	seed = getenv("KCM_SEED") ? strtoul(getenv("KCM_SEED"), NULL, 0) : 0x6b636d31;
	if (!seed)
		seed = 1;
	first_seed = seed;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
