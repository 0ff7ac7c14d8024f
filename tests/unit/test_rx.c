// SPDX-License-Identifier: GPL-2.0
/* rx over loopback: every byte of every message, by every way, from every kind of sender. */
#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include "cmocka_all.h"
#include "../e2e/rx_kit.h"

static struct kcm_frame frame(void)
{
	struct kcm_frame f;
	char err[160];

	if (kcm_frame_parse(KIT_FRAME, &f, err, sizeof(err)))
		fail_msg("%s", err);
	return f;
}

struct feed {
	int fd;
	enum kit_how how;
	uint64_t seed, messages, min, max;
	pthread_t thread;
};

static void *feed_run(void *arg)
{
	struct feed *f = arg;
	uint64_t sizes = f->seed ^ 0xfeed;
	struct kit_sender s;

	kit_sender_open(&s, f->fd, f->how, f->seed);
	for (uint64_t i = 0; i < f->messages; i++)
		kit_send_msg(&s, i, kit_size(&sizes, f->min, f->max));
	kit_sender_close(&s);
	close(f->fd);
	return NULL;
}

static struct kcm_rx *open_rx(int fd, enum kcm_rx_mode mode)
{
	struct kcm_rx_opts o = { .sz = sizeof(o), .mode = mode };
	struct kcm_frame f = frame();
	struct kcm_rx *rx = NULL;

	assert_int_equal(kcm_rx_open(fd, &f, &o, &rx), 0);
	return rx;
}

static struct kcm_rx_stats stats(const struct kcm_rx *rx)
{
	struct kcm_rx_stats st;
	uint64_t sum = 0;

	assert_int_equal(kcm_rx_stats(rx, &st, sizeof(st)), 0);
	for (int i = 0; i < KCM_RX_WHYS; i++)
		sum += st.copied_bytes[i];
	/* Each byte took one way. */
	assert_int_equal(st.bytes, st.mapped_bytes + sum);
	return st;
}

/* All of a feed; some messages are kept for a while, released in another order. */
static struct kcm_rx_stats take_all(struct kcm_rx *rx, const struct feed *f, unsigned int keep)
{
	struct kcm_rx_msg kept[8] = { 0 }, m;
	uint64_t number[8] = { 0 }, dice = f->seed;
	struct kcm_rx_stats st;
	int r;

	for (uint64_t i = 0; i < f->messages; i++) {
		unsigned int at = keep ? (unsigned int)(kit_random(&dice) % keep) : 0;

		r = kcm_rx_recv(rx, &m, -1);
		if (r != 1)
			fail_msg("message %llu: %d", (unsigned long long)i, r);
		assert_true(kit_check(&m, i));
		if (!keep) {
			assert_int_equal(kcm_rx_release(rx, &m), 0);
			continue;
		}
		if (kept[at].priv) {
			/* Still what it was. */
			assert_true(kit_check(&kept[at], number[at]));
			assert_int_equal(kcm_rx_release(rx, &kept[at]), 0);
		}
		kept[at] = m;
		number[at] = i;
	}
	assert_int_equal(kcm_rx_recv(rx, &m, -1), 0);
	for (unsigned int i = 0; i < keep; i++)
		if (kept[i].priv) {
			assert_true(kit_check(&kept[i], number[i]));
			assert_int_equal(kcm_rx_release(rx, &kept[i]), 0);
		}
	st = stats(rx);
	assert_int_equal(st.messages, f->messages);
	return st;
}

static struct kcm_rx_stats run(struct feed f, int family, int mss, enum kcm_rx_mode mode,
			       unsigned int keep)
{
	struct kcm_rx_stats st;
	struct kcm_rx *rx;
	int fd[2];

	kit_pair(family, mss, fd);
	f.fd = fd[1];
	rx = open_rx(fd[0], mode);
	pthread_create(&f.thread, NULL, feed_run, &f);
	st = take_all(rx, &f, keep);
	pthread_join(f.thread, NULL);
	kcm_rx_close(rx);
	close(fd[0]);
	return st;
}

static void every_sender_every_mode(void **state)
{
	(void)state;
	for (int how = 0; how < KIT_HOWS; how++)
		for (int mode = KCM_RX_AUTO; mode <= KCM_RX_COPY; mode++)
			for (int mss = 0; mss <= KIT_MSS; mss += KIT_MSS)
				run((struct feed){ .how = how,
						   .seed = 1000U * how + 100U * mode + mss,
						   .messages = 150,
						   .min = 0,
						   .max = 2 << 20 },
				    mode % 2 ? AF_INET : AF_INET6, mss, mode, how % 2 ? 5 : 0);
}

static void pages_are_mapped(void **state)
{
	struct kcm_rx_stats st;

	(void)state;
	st = run((struct feed){ .how = KIT_PAGES,
				.seed = 7,
				.messages = 64,
				.min = 1 << 20,
				.max = 1 << 20 },
		 AF_INET, KIT_MSS, KCM_RX_MAP, 0);
	print_message("# mapped %.2f%%, one piece %llu/64, calls %llu, waits %llu, releases %llu\n",
		      100.0 * st.mapped_bytes / st.bytes, (unsigned long long)st.one_piece,
		      (unsigned long long)st.calls, (unsigned long long)st.waits,
		      (unsigned long long)st.releases);
	assert_true(st.mapped_bytes > st.bytes / 100 * 90);
	assert_true(st.one_piece >= 50);
}

/* Of AUTO what is no matter of time: messages too short, pages that are none, and back. */
static void what_cannot_win_is_copied(void **state)
{
	struct feed f = { .how = KIT_PAGES, .seed = 3, .messages = 300, .min = 4000, .max = 4096 };
	struct kcm_rx_stats st = run(f, AF_INET, KIT_MSS, KCM_RX_AUTO, 0);

	(void)state;
	assert_int_equal(st.now, KCM_RX_COPY);
	assert_int_equal(st.why, KCM_RX_WHY_SMALL);
	assert_int_equal(st.mapped_bytes, 0);
	f = (struct feed){
		.how = KIT_PLAIN, .seed = 3, .messages = 40, .min = 1 << 20, .max = 1 << 20
	};
	st = run(f, AF_INET, KIT_MSS, KCM_RX_AUTO, 0);
	assert_int_equal(st.now, KCM_RX_COPY);
	assert_int_equal(st.why, KCM_RX_WHY_UNALIGNED);
	/* Before the first comparison pages that can be mapped are. */
	f.how = KIT_PAGES;
	st = run(f, AF_INET, KIT_MSS, KCM_RX_AUTO, 0);
	assert_int_equal(st.now, KCM_RX_MAP);
	assert_true(st.mapped_bytes > st.bytes / 10 * 9);
	assert_int_equal(st.copied_bytes[KCM_RX_WHY_COST], 0);
}

/* What is there comes with one call, as far as it fits. */
static void many_with_one_call(void **state)
{
	struct kcm_rx_stats st;
	struct kit_sender s;
	struct kcm_rx_msg m;
	struct kcm_rx *rx;
	int fd[2], there = 0;

	(void)state;
	kit_pair(AF_INET, 0, fd);
	kit_sender_open(&s, fd[1], KIT_PLAIN, 1);
	for (uint64_t i = 0; i < 50; i++)
		kit_send_msg(&s, i, 100);
	while (there < 50 * (int)(KIT_HEAD + 100))
		assert_int_equal(ioctl(fd[0], FIONREAD, &there), 0);
	rx = open_rx(fd[0], KCM_RX_COPY);
	for (uint64_t i = 0; i < 50; i++) {
		assert_int_equal(kcm_rx_recv(rx, &m, -1), 1);
		assert_true(kit_check(&m, i));
		kcm_rx_release(rx, &m);
	}
	st = stats(rx);
	assert_int_equal(st.calls, 1);
	kit_sender_close(&s);
	kcm_rx_close(rx);
	close(fd[0]);
	close(fd[1]);
}

static void short_ones_first(void **state)
{
	struct feed f = { .how = KIT_PAGES, .seed = 3, .messages = 200, .min = 4096, .max = 4096 };
	struct kcm_rx_stats st;
	struct kit_sender s;
	struct kcm_rx_msg m;
	struct kcm_rx *rx;
	int fd[2];

	(void)state;
	kit_pair(AF_INET, KIT_MSS, fd);
	rx = open_rx(fd[0], KCM_RX_AUTO);
	kit_sender_open(&s, fd[1], KIT_PAGES, 1);
	for (uint64_t i = 0; i < 300; i++) {
		/* What fits into the socket, for there is one thread only. */
		kit_send_msg(&s, i, i < f.messages ? 4096 : 100 * 1024);
		assert_int_equal(kcm_rx_recv(rx, &m, -1), 1);
		assert_true(kit_check(&m, i));
		kcm_rx_release(rx, &m);
		if (i + 1 == f.messages)
			assert_int_equal(stats(rx).why, KCM_RX_WHY_SMALL);
	}
	st = stats(rx);
	/* They are worth a trial at once. */
	assert_true(st.mapped_bytes > 10 * 100 * 1024);
	kit_sender_close(&s);
	kcm_rx_close(rx);
	close(fd[0]);
	close(fd[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pages_are_mapped),
		cmocka_unit_test(every_sender_every_mode),
		cmocka_unit_test(what_cannot_win_is_copied),
		cmocka_unit_test(many_with_one_call),
		cmocka_unit_test(short_ones_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
