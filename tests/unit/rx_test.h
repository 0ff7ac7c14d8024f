/* SPDX-License-Identifier: GPL-2.0 */
/* rx_test.h - what the unit tests of rx share: a connection with a sender, counters, mapped pages.
 */
#ifndef KCM_TESTS_RX_TEST_H
#define KCM_TESTS_RX_TEST_H

#include <pthread.h>
#include "cmocka_all.h"
#include "../e2e/rx_kit.h"

#define MIB (1U << 20)

static inline struct kcm_rx *open_text(int fd, const char *text, const struct kcm_rx_opts *o)
{
	struct kcm_frame f;
	struct kcm_rx *rx = NULL;
	char err[160];

	if (kcm_frame_parse(text, &f, err, sizeof(err)))
		fail_msg("%s", err);
	assert_int_equal(kcm_rx_open(fd, &f, o, &rx), 0);
	return rx;
}

static inline struct kcm_rx_stats stats(const struct kcm_rx *rx)
{
	struct kcm_rx_stats st;

	assert_int_equal(kcm_rx_stats(rx, &st, sizeof(st)), 0);
	return st;
}

/* Pages of the socket's window that are mapped. */
static inline long mapped_kib(void)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	char line[512];
	long sum = 0, rss;
	bool ours = false;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		if (strstr(line, "socket:["))
			ours = true;
		else if (sscanf(line, "Rss: %ld", &rss) == 1 && ours)
			sum += rss;
		else if (strstr(line, "VmFlags:"))
			ours = false;
	}
	fclose(f);
	return sum;
}

struct feed {
	struct kit_sender s;
	int fd;
	uint64_t messages;
	size_t body;
	pthread_t thread;
};

static inline void *feed_run(void *arg)
{
	struct feed *f = arg;

	kit_sender_open(&f->s, f->fd, KIT_PAGES, 3);
	for (uint64_t i = 0; i < f->messages; i++)
		kit_send_msg(&f->s, i, f->body);
	kit_sender_close(&f->s);
	return NULL;
}

static inline void take(struct kcm_rx *rx, struct kcm_rx_msg *m, uint64_t number)
{
	int r = kcm_rx_recv(rx, m, -1);

	if (r != 1)
		fail_msg("message %llu: %d", (unsigned long long)number, r);
	assert_true(kit_check(m, number));
}

#endif
