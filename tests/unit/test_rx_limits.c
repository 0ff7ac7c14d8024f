// SPDX-License-Identifier: GPL-2.0
/* rx: bounds, what is given back, what is mapped. */
#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include "rx_test.h"

/* Pages that TCP has in all of this network namespace. */
static long tcp_pages(void)
{
	FILE *f = fopen("/proc/net/sockstat", "re");
	char line[256];
	long mem = -1;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		if (strstr(line, "TCP:") == line)
			mem = atol(strstr(line, "mem ") + 4);
	fclose(f);
	return mem;
}

static void never_released(enum kcm_rx_mode mode)
{
	struct kcm_rx_opts o = { .sz = sizeof(o), .mode = mode, .limit_bytes = 66 * MIB };
	struct feed f = { .messages = 200, .body = MIB };
	struct kcm_rx_msg m[200];
	struct kcm_rx_stats st;
	struct kcm_rx *rx, *other;
	unsigned int n = 0, again;
	int fd[2], fd2[2], r;
	struct kit_sender s2;

	kit_pair(AF_INET, KIT_MSS, fd);
	kit_pair(AF_INET6, KIT_MSS, fd2);
	rx = open_text(fd[0], KIT_FRAME, &o);
	other = open_text(fd2[0], KIT_FRAME, &o);
	f.fd = fd[1];
	pthread_create(&f.thread, NULL, feed_run, &f);
	while ((r = kcm_rx_recv(rx, &m[n], -1)) == 1)
		n++;
	assert_int_equal(r, -ENOBUFS);
	assert_in_range(n, 50, 66);
	st = stats(rx);
	assert_true(st.held_bytes <= o.limit_bytes);
	assert_true(mapped_kib() * 1024 <= (long)o.limit_bytes);
	/* It is said again, nothing is lost, and the sender has to wait: its window is closed. */
	assert_int_equal(kcm_rx_recv(rx, &m[n], -1), -ENOBUFS);
	/* Others go on. */
	kit_sender_open(&s2, fd2[1], KIT_PAGES, 9);
	for (int i = 0; i < 3; i++) {
		struct kcm_rx_msg x;

		kit_send_msg(&s2, (uint64_t)i, 100000);
		take(other, &x, (uint64_t)i);
		assert_int_equal(kcm_rx_release(other, &x), 0);
	}
	kit_sender_close(&s2);
	/* All that were kept are what they were. */
	for (unsigned int i = 0; i < n; i++)
		assert_true(kit_check(&m[i], i));
	/* The last one alone makes no room, for pages go in order; the first one does. */
	assert_int_equal(kcm_rx_release(rx, &m[0]), 0);
	assert_int_equal(kcm_rx_release(rx, &m[1]), 0);
	again = n;
	take(rx, &m[n], n);
	n++;
	for (unsigned int i = 2; i < n; i++)
		assert_int_equal(kcm_rx_release(rx, &m[i]), 0);
	for (; n < f.messages; n++) {
		take(rx, &m[0], n);
		assert_int_equal(kcm_rx_release(rx, &m[0]), 0);
	}
	assert_true(again < n);
	pthread_join(f.thread, NULL);
	kcm_rx_flush(rx);
	kcm_rx_flush(other);
	assert_int_equal(mapped_kib(), 0);
	kcm_rx_close(rx);
	kcm_rx_close(other);
	for (int i = 0; i < 2; i++) {
		close(fd[i]);
		close(fd2[i]);
	}
}

static void never_released_mapped(void **state)
{
	(void)state;
	never_released(KCM_RX_MAP);
}

static void never_released_copied(void **state)
{
	(void)state;
	never_released(KCM_RX_COPY);
}

static int open_files(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void nothing_leaks(void **state)
{
	long before = tcp_pages(), after = 0;
	int files = open_files();

	(void)state;
	for (int round = 0; round < 4; round++) {
		struct kcm_rx_opts o = { .sz = sizeof(o), .mode = KCM_RX_MAP };
		struct feed f = { .messages = 40, .body = MIB };
		struct kcm_rx_msg m[40];
		struct kcm_rx *rx;
		int fd[2];

		kit_pair(AF_INET, KIT_MSS, fd);
		rx = open_text(fd[0], KIT_FRAME, &o);
		f.fd = fd[1];
		pthread_create(&f.thread, NULL, feed_run, &f);
		for (unsigned int i = 0; i < 40; i++)
			take(rx, &m[i], i);
		pthread_join(f.thread, NULL);
		assert_true(mapped_kib() >= 36 * 1024);
		/* By release, in another order; by close; by close with the socket closed before.
		 */
		for (unsigned int i = 40; i-- > 0 && round < 2;)
			assert_int_equal(kcm_rx_release(rx, &m[i]), 0);
		if (round == 1) {
			kcm_rx_flush(rx);
			assert_int_equal(mapped_kib(), 0);
			/* A chunk for what comes next is all that is left. */
			assert_true(stats(rx).held_bytes <= 512 * 1024);
		}
		if (round == 3)
			close(fd[0]);
		kcm_rx_close(rx);
		assert_int_equal(mapped_kib(), 0);
		if (round != 3)
			close(fd[0]);
		close(fd[1]);
	}
	assert_int_equal(open_files(), files);
	/*
	 * 40,000 pages went through. The kernel counts up to 256 a CPU late, and others' sockets
	 * too: give it time.
	 */
	for (int i = 0; i < 500; i++) {
		after = tcp_pages();
		if (after <= before + 4096)
			break;
		usleep(20000);
	}
	assert_true(after <= before + 4096);
}

/* What was released goes back while we wait, though it is less than a batch. */
static void idle_holds_nothing(void **state)
{
	struct kcm_rx_opts o = { .sz = sizeof(o), .mode = KCM_RX_MAP };
	struct feed f = { .messages = 4, .body = MIB };
	struct kcm_rx_msg m, same;
	struct kcm_rx *rx;
	int fd[2];

	(void)state;
	kit_pair(AF_INET, KIT_MSS, fd);
	rx = open_text(fd[0], KIT_FRAME, &o);
	f.fd = fd[1];
	pthread_create(&f.thread, NULL, feed_run, &f);
	for (unsigned int i = 0; i < 4; i++) {
		take(rx, &m, i);
		same = m;
		assert_int_equal(kcm_rx_release(rx, &m), 0);
		/* By a copy of it, too. */
		assert_int_equal(kcm_rx_release(rx, &same), -EINVAL);
	}
	assert_true(mapped_kib() > 0);
	assert_int_equal(kcm_rx_recv(rx, &m, 200), -EAGAIN);
	assert_int_equal(mapped_kib(), 0);
	pthread_join(f.thread, NULL);
	kcm_rx_close(rx);
	close(fd[0]);
	close(fd[1]);
}

/* A window of few messages, of which some are always kept: it begins again at its front. */
static void window_goes_round(void **state)
{
	struct kcm_rx_opts o = {
		.sz = sizeof(o), .mode = KCM_RX_MAP, .limit_bytes = 4 * MIB, .release_bytes = 1
	};
	struct feed f = { .messages = 300, .body = 700 * 1024 };
	struct kcm_rx_msg m[3];
	struct kcm_rx_stats st;
	struct kcm_rx *rx;
	int fd[2];

	(void)state;
	kit_pair(AF_INET, KIT_MSS, fd);
	rx = open_text(fd[0], "len off=0 width=4 be hdr=64 max=2M", &o);
	f.fd = fd[1];
	pthread_create(&f.thread, NULL, feed_run, &f);
	for (unsigned int i = 0; i < f.messages; i++) {
		take(rx, &m[i % 3], i);
		if (i < 2)
			continue;
		assert_true(kit_check(&m[(i - 2) % 3], i - 2));
		assert_int_equal(kcm_rx_release(rx, &m[(i - 2) % 3]), 0);
	}
	st = stats(rx);
	assert_true(st.mapped_bytes > st.bytes / 10 * 8);
	assert_int_equal(st.copied_bytes[KCM_RX_WHY_KERNEL], 0);
	assert_int_equal(st.copied_bytes[KCM_RX_WHY_ROOM], 0);
	/* Given back one by one, as told. */
	assert_true(st.releases > 200);
	pthread_join(f.thread, NULL);
	kcm_rx_close(rx);
	close(fd[0]);
	close(fd[1]);
}

static void mapped_pages_are_read_only(void **state)
{
	struct kcm_rx_opts o = { .sz = sizeof(o), .mode = KCM_RX_MAP };
	struct feed f = { .messages = 1, .body = MIB };
	struct kcm_rx_msg m;
	struct kcm_rx *rx;
	int fd[2], status;
	pid_t pid;

	(void)state;
	kit_pair(AF_INET, KIT_MSS, fd);
	rx = open_text(fd[0], KIT_FRAME, &o);
	f.fd = fd[1];
	pthread_create(&f.thread, NULL, feed_run, &f);
	take(rx, &m, 0);
	pthread_join(f.thread, NULL);
	assert_true(m.mapped_bytes >= MIB / 2 && m.iovcnt >= 2);
	/* Nobody can make them writable. */
	assert_int_equal(mprotect(m.iov[1].iov_base, 4096, PROT_READ | PROT_WRITE), -1);
	/* A child does not have them, so that it cannot keep them. */
	pid = fork();
	if (!pid) {
		volatile uint8_t *p = m.iov[1].iov_base;

		signal(SIGSEGV, SIG_DFL);
		_exit(*p & 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	assert_true(kit_check(&m, 0));
	/* The connection ends with close(), whatever is mapped of it. */
	close(fd[0]);
	assert_int_equal(poll(&(struct pollfd){ fd[1], POLLRDHUP, 0 }, 1, 10000), 1);
	assert_true(kit_check(&m, 0));
	assert_int_equal(kcm_rx_release(rx, &m), 0);
	assert_int_equal(kcm_rx_release(rx, &m), -EINVAL);
	kcm_rx_close(rx);
	close(fd[1]);
}

/* What was received is the reader's, whatever becomes of the connection. */
static void reset_with_pages_mapped(void **state)
{
	struct kcm_rx_opts o = { .sz = sizeof(o), .mode = KCM_RX_MAP };
	struct feed f = { .messages = 6, .body = MIB };
	struct linger now = { 1, 0 };
	struct kcm_rx_msg m[6], more;
	struct kcm_rx *rx;
	int fd[2];

	(void)state;
	kit_pair(AF_INET, KIT_MSS, fd);
	rx = open_text(fd[0], KIT_FRAME, &o);
	f.fd = fd[1];
	pthread_create(&f.thread, NULL, feed_run, &f);
	for (unsigned int i = 0; i < 6; i++)
		take(rx, &m[i], i);
	pthread_join(f.thread, NULL);
	/* In the middle of one more, of which nothing is given out. */
	kit_send(fd[1], "\0\20\0\0", 4, 0);
	setsockopt(fd[1], SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(fd[1]);
	assert_int_equal(kcm_rx_recv(rx, &more, 20000), -ECONNRESET);
	for (unsigned int i = 0; i < 6; i++) {
		assert_true(m[i].mapped_bytes > MIB / 2);
		assert_true(kit_check(&m[i], i));
		assert_int_equal(kcm_rx_release(rx, &m[i]), 0);
	}
	kcm_rx_flush(rx);
	assert_int_equal(mapped_kib(), 0);
	assert_int_equal(kcm_rx_recv(rx, &more, 0), -ECONNRESET);
	kcm_rx_close(rx);
	close(fd[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(never_released_mapped),
		cmocka_unit_test(never_released_copied),
		cmocka_unit_test(window_goes_round),
		cmocka_unit_test(idle_holds_nothing),
		cmocka_unit_test(nothing_leaks),
		cmocka_unit_test(mapped_pages_are_read_only),
		cmocka_unit_test(reset_with_pages_mapped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
