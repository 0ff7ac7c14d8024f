// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * test_sock_frame.c - the framing programs of sock in the kernel, fed with segments of random
 * streams: cut anywhere, early, again, overlapping. When all bytes have come, the programs must
 * have counted the messages and bytes that are there, and found a fault where there is one.
 * KCM_SEED=N repeats or varies a run.
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
#include "../unit/stream_feed.h"
#include "sockframe.skel.h"

enum {
	DESCRIPTORS = 25,
	STREAMS = 12,
	STREAM_BYTES = 24000,
	ROOM = STREAM_BYTES + 65536,
	SLOTS = 4,
	SLOT = 2,
	L2_BYTES = 14,
	HDR_BYTES = 40,	  /* IPv4, TCP: the programs are told where the payload is */
	SEG_BYTES = 3000, /* a test run takes less than a page */
	EARLY = 12,	  /* segments that overtake one, at most */
};

struct maps {
	struct kcm_sk_hot *hot;
	struct kcm_sk_in *in;
	struct kcm_sk_more *more;
	int heads;
};

struct stream {
	const char *desc;
	const unsigned char *data;
	size_t len;
	int prog;
	__u32 base; /* sequence number of data[0] */
	int tx;
	struct maps *m;
};

static unsigned int first_seed, seed;
static unsigned long messages, errors, early, again;

static void *map_values(struct bpf_map *map, size_t bytes)
{
	size_t page = sysconf(_SC_PAGESIZE);
	void *p = mmap(NULL, (bytes + page - 1) / page * page, PROT_READ | PROT_WRITE, MAP_SHARED,
		       bpf_map__fd(map), 0);

	if (p == MAP_FAILED)
		fail_msg("mmap of %s: %m", bpf_map__name(map));
	return p;
}

/* Return: whether the stream is still framed. */
static int deliver(const struct stream *s, size_t from, size_t bytes)
{
	static unsigned char packet[L2_BYTES + HDR_BYTES + SEG_BYTES];
	struct __sk_buff ctx = { .cb = { SLOT, s->base + from, HDR_BYTES } };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet, .ctx_in = &ctx,
		    .ctx_size_in = sizeof(ctx));

	packet[12] = 0x08; /* IPv4 */
	packet[L2_BYTES] = 0x45;
	memcpy(packet + L2_BYTES + HDR_BYTES, s->data + from, bytes);
	opts.data_size_in = L2_BYTES + HDR_BYTES + bytes;
	if (bpf_prog_test_run_opts(s->prog, &opts))
		fail_msg("%s: test run: %m", s->desc);
	assert_int_equal(opts.retval, 1);
	return !(s->m->hot[SLOT].frame_dead & (s->tx ? 1 : 2));
}

static size_t piece(size_t left)
{
	size_t n =
		gen_below(&seed, 3) ? gen_below(&seed, 200) + 1 : gen_below(&seed, SEG_BYTES) + 1;

	return n < left ? n : left;
}

/* @from..@to, perhaps with bytes before and behind, as a retransmission has them */
static int deliver_wide(const struct stream *s, size_t from, size_t to)
{
	size_t back = gen_below(&seed, 3) ? 0 : gen_below(&seed, 300);
	size_t ahead = gen_below(&seed, 3) ? 0 : gen_below(&seed, 300);

	back = back < from ? back : from;
	ahead = ahead < s->len - to ? ahead : s->len - to;
	if (to - from + back + ahead > SEG_BYTES)
		back = ahead = 0;
	again += !!back;
	return deliver(s, from - back, to - from + back + ahead);
}

static void feed_kernel(const struct stream *s)
{
	size_t at = 0, cut[EARLY + 2];
	unsigned int n, i;

	while (at < s->len) {
		/* One segment, or one that some overtake: 1 2 3 0 */
		n = gen_below(&seed, 5) ? 0 : gen_below(&seed, EARLY) + 1;
		cut[0] = at;
		for (i = 0; i <= n; i++)
			cut[i + 1] = cut[i] + piece(s->len - cut[i]);
		for (i = 1; i <= n; i++) {
			if (cut[i + 1] == cut[i] || !gen_below(&seed, 8))
				continue; /* lost: it comes below */
			early++;
			if (!deliver(s, cut[i], cut[i + 1] - cut[i]))
				return;
		}
		for (i = 0; i <= n; i++)
			if (cut[i + 1] > cut[i] && !deliver_wide(s, cut[i], cut[i + 1]))
				return;
		at = cut[n + 1];
		if (!gen_below(&seed, 6)) { /* all of it is old */
			size_t from = gen_below(&seed, at);

			again++;
			if (!deliver(s, from, piece(at - from)))
				return;
		}
	}
}

/* Where a reply ends the messages, nothing that follows is one. */
static int model_ends(struct stream_result *model)
{
	for (__u32 i = 0; i < model->n; i++)
		if (model->flags[i] & (KCM_FS_OPAQUE | KCM_FS_TO_CLOSE)) {
			model->n = i + 1;
			model->err = 0;
			return 1;
		}
	return 0;
}

static void check(const struct stream *s, const struct stream_result *model, int ends,
		  const struct kcm_frame *f)
{
	const struct kcm_sk_hot *hot = &s->m->hot[SLOT];
	const struct kcm_sk_in *in = &s->m->in[SLOT];
	const struct kcm_sk_more *more = &s->m->more[SLOT];
	const struct kcm_sk_dir *d = s->tx ? &more->tx : &more->rx;
	__u64 bytes = s->tx ? hot->tx_bytes : in->rx_bytes;
	__u32 next = s->tx ? hot->tx_seq : in->rx_base + (__u32)in->rx_bytes, zero = 0;
	static struct kcm_sk_stash_heads heads;
	size_t rest = s->len - (model->n ? model->end[model->n - 1] : 0);
	int dead = hot->frame_dead != 0;
	enum kcm_sk_unframed why = !model->err		     ? KCM_UNFRAMED_NO
				   : model->err == -EMSGSIZE ? KCM_UNFRAMED_SIZE
							     : KCM_UNFRAMED_PROTO;

	if (d->msgs != model->n)
		fail_msg("%s: %llu of %u messages, error %d, unframed %d (KCM_SEED=%u)", s->desc,
			 d->msgs, model->n, model->err, more->info.unframed, first_seed);
	if (model->err == -EMSGSIZE && !dead && rest < f->max_bytes)
		return; /* it will be told when so many bytes have come */
	if (ends ? !dead : dead != !!model->err || more->info.unframed != why)
		fail_msg("%s: error %d, dead %d, unframed %d (KCM_SEED=%u)", s->desc, model->err,
			 dead, more->info.unframed, first_seed);
	if (!dead && (bytes != s->len || next != (__u32)(s->base + s->len)))
		fail_msg("%s: %llu of %zu bytes (KCM_SEED=%u)", s->desc, bytes, s->len, first_seed);
	assert_int_equal(d->stashes, 0);
	assert_int_equal(d->lock, 0);
	assert_int_equal(bpf_map_lookup_elem(s->m->heads, &zero, &heads), 0);
	for (int i = 0; i < KCM_SK_STASHES; i++)
		assert_int_equal(heads.h[i].owner, 0);
}

static void one_stream(const char *desc, const struct kcm_frame *f, struct sockframe *skel,
		       struct maps *m)
{
	static unsigned char data[ROOM];
	static struct stream_result model;
	struct feed in = { .frame = f, .data = data };
	struct stream s = { .desc = desc, .data = data, .m = m };
	int server = gen_below(&seed, 2), ends;
	struct kcm_sk_hot *hot = &m->hot[SLOT];

	s.tx = gen_below(&seed, 2);
	s.prog = bpf_program__fd(s.tx ? skel->progs.kcm_frame_tx : skel->progs.kcm_frame_rx);
	s.base = gen_below(&seed, 2) ? feed_random(&seed) : -gen_below(&seed, STREAM_BYTES);
	in.told = s.tx == server ? KCM_FS_REPLY : 0;
	in.len = gen_stream(f, &seed, in.told, data, gen_below(&seed, STREAM_BYTES) + 1);
	s.len = in.len;
	stream_model(&in, &model);
	ends = model_ends(&model);

	memset(hot, 0, sizeof(*hot));
	memset(&m->in[SLOT], 0, sizeof(m->in[SLOT]));
	memset(&m->more[SLOT], 0, sizeof(m->more[SLOT]));
	hot->tag = 4711 + gen_below(&seed, 1000);
	hot->role = server ? KCM_ROLE_SERVER : KCM_ROLE_CLIENT;
	hot->state = KCM_SK_ESTABLISHED;
	hot->flags = KCM_SKF_TX_BASE | KCM_SKF_RX_BASE;
	hot->tx_seq = m->in[SLOT].rx_base = s.base;
	feed_kernel(&s);
	check(&s, &model, ends, f);
	messages += model.n;
	errors += model.err < 0;
}

static void lockstep(const char *desc)
{
	struct sockframe *skel = sockframe__open();
	struct kcm_sk_cfg cfg = { .slots = SLOTS, .slot_mask = SLOTS - 1 };
	struct kcm_frame f;
	struct maps m;
	char err[256];

	assert_non_null(skel);
	if (kcm_frame_parse(desc, &f, err, sizeof(err)))
		fail_msg("%s", err);
	memcpy((void *)&skel->rodata->kcm_frame, &f, sizeof(f));
	memcpy((void *)&skel->rodata->kcm_sk_cfg, &cfg, sizeof(cfg));
	bpf_map__set_max_entries(skel->maps.kcm_sk_hot, SLOTS);
	bpf_map__set_max_entries(skel->maps.kcm_sk_in, SLOTS);
	bpf_map__set_max_entries(skel->maps.kcm_sk_more, SLOTS);
	if (sockframe__load(skel))
		fail_msg("%s: the kernel refuses the programs: %m", desc);
	m.hot = map_values(skel->maps.kcm_sk_hot, SLOTS * sizeof(*m.hot));
	m.in = map_values(skel->maps.kcm_sk_in, SLOTS * sizeof(*m.in));
	m.more = map_values(skel->maps.kcm_sk_more, SLOTS * sizeof(*m.more));
	m.heads = bpf_map__fd(skel->maps.kcm_sk_sthead);
	for (int i = 0; i < STREAMS; i++)
		one_stream(desc, &f, skel, &m);
	munmap(m.hot, SLOTS * sizeof(*m.hot));
	munmap(m.in, SLOTS * sizeof(*m.in));
	munmap(m.more, SLOTS * sizeof(*m.more));
	sockframe__destroy(skel);
}

static void presets(void **state)
{
	(void)state;
	for (const struct kcm_frame_preset *p = kcm_frame_presets(); p->name; p++)
		lockstep(p->name);
}

static void far_headers(void **state)
{
	(void)state;
	lockstep("len off=56 width=8 be hdr=300 max=20000");
	lockstep("varint off=56 width=8");
	lockstep("http1 max=1G");
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

/* the streams were neither all damaged nor all harmless, nor all in order */
static void all_outcomes(void **state)
{
	(void)state;
	print_message("%lu messages, %lu streams with an error, %lu early segments, %lu again\n",
		      messages, errors, early, again);
	assert_true(messages > 10000);
	assert_true(errors > 10);
	assert_true(early > 1000);
	assert_true(again > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(presets),
		cmocka_unit_test(far_headers),
		cmocka_unit_test(random_descriptors),
		cmocka_unit_test(all_outcomes),
	};

	seed = getenv("KCM_SEED") ? strtoul(getenv("KCM_SEED"), NULL, 0) : 0x6b636d31;
	if (!seed)
		seed = 1;
	first_seed = seed;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
