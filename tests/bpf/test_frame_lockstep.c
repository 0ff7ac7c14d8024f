// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * test_frame_lockstep.c - the kernel and user space frame the same random streams, cut into the
 * same random segments; after every segment they must stand at the same place, in every word of
 * the state. KCM_SEED=N repeats or varies a run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "../unit/frame_gen.h"
#include "frame_test.h"
#include "frame_test.skel.h"

enum { DESCRIPTORS = 150, STREAMS = 30, STREAM_BYTES = 24000, ROOM = STREAM_BYTES + 65536 };

static unsigned int first_seed, seed;
static unsigned long messages, errors;

static void *map_value(struct bpf_map *map, size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);

	if (p == MAP_FAILED)
		fail_msg("mmap of %s: %m", bpf_map__name(map));
	return p;
}

/* what kcm_t_step() of frame_test.bpf.c does, here */
static void frame_here(const struct kcm_frame *f, struct test_ctl *c, const unsigned char *data,
		       __u32 start)
{
	for (;;) {
		__u32 avail = c->end - c->pos;

		if (!c->whole)
			c->whole = feed_step(f, &c->state, data, c->pos - start, avail);
		if (c->whole <= 0 || (__u32)c->whole > avail)
			return;
		c->len[c->n++ % TEST_MSGS] = c->whole;
		c->pos += c->whole;
		c->whole = 0;
	}
}

static void compare(const char *desc, const struct test_ctl *k, const struct test_ctl *u)
{
	if (memcmp(k, u, sizeof(*k)) == 0)
		return;
	fail_msg("%s: after %u bytes the kernel has %u messages, is at %u, answers %d;"
		 " user space has %u, is at %u, answers %d (KCM_SEED=%u)",
		 desc, u->end, k->n, k->pos, k->whole, u->n, u->pos, u->whole, first_seed);
}

static void one_stream(const char *desc, const struct kcm_frame *f, int prog, struct test_ctl *k,
		       unsigned char *arena)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts);
	static unsigned char data[ROOM], copy[ROOM];
	static struct test_ctl u;
	struct feed cut = { .seed = gen_below(&seed, 3) };
	__u32 told = gen_below(&seed, 3) ? 0 : gen_below(&seed, 4);
	size_t len = gen_stream(f, &seed, told, data, gen_below(&seed, STREAM_BYTES) + 1), have = 0;
	__u32 start = gen_below(&seed, TEST_POS_MASK / 2);

	if (cut.seed == 1 && len > 1500) /* byte by byte is slow */
		len = 1500;
	memset(&u, 0, sizeof(u));
	u.state.reserved = told;
	u.pos = start;
	u.end = start;
	*k = u;
	while (have < len && u.whole >= 0) {
		size_t piece = feed_piece(&cut, &seed, len - have);

		memcpy(arena + start + have, data + have, piece);
		memcpy(copy + have, data + have, piece);
		have += piece;
		memset(arena + start + have, gen_below(&seed, 256), KCM_FRAME_PAD);
		memset(copy + have, gen_below(&seed, 256), KCM_FRAME_PAD);
		u.end = start + have;
		k->end = u.end;
		frame_here(f, &u, copy, start);
		assert_int_equal(bpf_prog_test_run_opts(prog, &opts), 0);
		assert_int_equal(opts.retval, 0);
		compare(desc, k, &u);
	}
	messages += u.n;
	errors += u.whole < 0;
}

static void lockstep(const char *desc)
{
	struct kcm_frame f;
	struct frame_test *t;
	struct test_ctl *ctl;
	unsigned char *arena;
	char err[256];
	size_t page = sysconf(_SC_PAGESIZE);
	size_t ctl_bytes = (sizeof(*ctl) + page - 1) / page * page;
	size_t arena_bytes = (TEST_ARENA_BYTES + page - 1) / page * page;

	if (kcm_frame_parse(desc, &f, err, sizeof(err)))
		fail_msg("%s", err);
	t = frame_test__open();
	assert_non_null(t);
	memcpy((void *)&t->rodata->kcm_desc, &f, sizeof(f));
	if (frame_test__load(t))
		fail_msg("%s: the kernel refuses the program: %m", desc);
	ctl = map_value(t->maps.kcm_t_ctl, ctl_bytes);
	arena = map_value(t->maps.kcm_t_arena, arena_bytes);
	for (int i = 0; i < STREAMS; i++)
		one_stream(desc, &f, bpf_program__fd(t->progs.kcm_t_frame), ctl, arena);
	munmap(ctl, ctl_bytes);
	munmap(arena, arena_bytes);
	frame_test__destroy(t);
}

static void presets(void **state)
{
	(void)state;
	for (const struct kcm_frame_preset *p = kcm_frame_presets(); p->name; p++)
		lockstep(p->name);
}

static void random_descriptors(void **state)
{
	struct kcm_frame f;
	char desc[KCM_FRAME_TEXT_BYTES];

	(void)state;
	for (int i = 0; i < DESCRIPTORS;) {
		gen_descriptor(&seed, desc, sizeof(desc));
		if (kcm_frame_parse(desc, &f, NULL, 0)) /* a mask or maximum that cannot be */
			continue;
		lockstep(desc);
		i++;
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
