// SPDX-License-Identifier: GPL-2.0
/* rx: ends of streams, bad input, wake-ups, threads. */
#include <poll.h>
#include <time.h>
#include "rx_test.h"

/* @text, all that is sent, how the stream ends after @whole messages */
static void ends(const char *text, const char *bytes, size_t n, bool reset, int whole, int how)
{
	struct linger now = { 1, 0 };
	struct kcm_rx_msg m;

	for (int mode = KCM_RX_AUTO; mode <= KCM_RX_COPY; mode++) {
		struct kcm_rx_opts o = { .sz = sizeof(o), .mode = (enum kcm_rx_mode)mode };
		struct kcm_rx *rx;
		int fd[2], r;

		kit_pair(AF_INET, 0, fd);
		rx = open_text(fd[0], text, &o);
		kit_send(fd[1], bytes, n, 0);
		for (int i = 0; i < whole; i++) {
			r = kcm_rx_recv(rx, &m, 20000);
			if (r != 1)
				fail_msg("%s, mode %d, message %d: %d", text, mode, i, r);
			kcm_rx_release(rx, &m);
		}
		if (reset)
			setsockopt(fd[1], SOL_SOCKET, SO_LINGER, &now, sizeof(now));
		close(fd[1]);
		for (int i = 0; i < 2; i++) { /* it stays */
			r = kcm_rx_recv(rx, &m, 20000);
			if (r != how)
				fail_msg("%s, mode %d: %d, not %d", text, mode, r, how);
		}
		assert_int_equal(stats(rx).messages, whole);
		kcm_rx_close(rx);
		close(fd[0]);
	}
}

static void bad_input(void **state)
{
	static char big[300000] = { 0, 4, 0, 0 };

	(void)state;
	ends("u32be", "\0\0\0\1a\0\0\0\2bc", 11, false, 2, 0);
	ends("u32be", "\0\0\0\1a\0\0\0\2b", 10, false, 1, -EPIPE);
	ends("u32be", "\0\0\0\1a\0\0", 7, false, 1, -EPIPE);
	ends("u32be", "\0\0\0\1a\0\0\0\2b", 10, true, 1, -ECONNRESET);
	ends("u32be", "\0\0\0\1a", 5, true, 1, -ECONNRESET);
	ends("u32be max=64", "\0\0\0\1a\0\0\0\x40", 9, false, 1, -EMSGSIZE);
	ends("u32be", "\xff\xff\xff\xff", 4, false, 0, -EMSGSIZE);
	ends("len off=0 width=4 be adj=-8", "\0\0\0\7aaaaaaaa", 12, false, 0, -EPROTO);
	ends("varint", "\1a\xff\xff\xff\xff\xff\xff", 8, false, 1, -EPROTO);
	ends("delim=lf max=64", "a\nbb\nc", 6, false, 2, -EPIPE);
	ends("websocket", "GET / HTTP/1.1\r\nA: b\r\n\r\n\x82\x01x\x82", 28, false, 2, -EPIPE);
	ends("http1", "GET / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcX", 42, false, 1, -EPIPE);
	ends("fixed=3", "abcabcab", 8, false, 2, -EPIPE);
	/* In the middle of what would be mapped. */
	big[(4 << 16) + 4 + 1] = 4;
	ends("u32be", big, sizeof(big), false, 1, -EPIPE);
	ends("u32be", big, 200000, false, 0, -EPIPE);
	ends("u32be", big, 200000, true, 0, -ECONNRESET);
}

static void bad_arguments(void **state)
{
	struct kcm_rx_opts o = { .sz = sizeof(o) };
	struct kcm_frame f, none = { 0 };
	struct kcm_rx *rx;
	int fd[2], p[2];
	uint16_t port;

	(void)state;
	assert_int_equal(kcm_frame_parse(KIT_FRAME, &f, NULL, 0), 0);
	kit_pair(AF_INET, 0, fd);
	assert_int_equal(pipe(p), 0);
	assert_int_equal(kcm_rx_open(p[0], &f, NULL, &rx), -ENOTSOCK);
	assert_int_equal(kcm_rx_open(-1, &f, NULL, &rx), -EBADF);
	assert_int_equal(kcm_rx_open(fd[0], &none, NULL, &rx), -EINVAL);
	assert_int_equal(kcm_rx_open(fd[0], NULL, NULL, &rx), -EINVAL);
	o.limit_bytes = 65 * MIB; /* the longest message, and no more */
	assert_int_equal(kcm_rx_open(fd[0], &f, &o, &rx), -EINVAL);
	o.limit_bytes = 0;
	o.mode = 7;
	assert_int_equal(kcm_rx_open(fd[0], &f, &o, &rx), -EINVAL);
	o.mode = KCM_RX_AUTO;
	o.flags = 8;
	assert_int_equal(kcm_rx_open(fd[0], &f, &o, &rx), -EINVAL);
	o.flags = 0;
	o.sz = sizeof(o) + 8;
	assert_int_equal(kcm_rx_open(fd[0], &f, &o, &rx), -EINVAL);
	close(p[0]);
	p[0] = socket(AF_INET, SOCK_DGRAM, 0);
	assert_int_equal(kcm_rx_open(p[0], &f, NULL, &rx), -EOPNOTSUPP);
	close(p[0]);
	p[0] = kit_listen(AF_INET, 0, &port);
	assert_int_equal(kcm_rx_open(p[0], &f, NULL, &rx), -ENOTCONN);
	/* Two on one socket would each get half of it. */
	assert_int_equal(kcm_rx_open(fd[0], &f, NULL, &rx), 0);
	assert_int_equal(kcm_rx_open(fd[0], &f, NULL, &rx), -EBUSY);
	assert_int_equal(kcm_rx_recv(rx, &(struct kcm_rx_msg){ 0 }, 0), -EAGAIN);
	assert_int_equal(kcm_rx_recv(rx, &(struct kcm_rx_msg){ 0 }, 30), -EAGAIN);
	kcm_rx_close(rx);
	assert_int_equal(kcm_rx_open(fd[0], &f, NULL, &rx), 0);
	kcm_rx_close(rx);
	for (int i = 0; i < 2; i++) {
		close(p[i]);
		close(fd[i]);
	}
}

/* A poll() that says readable means a whole message, however many segments it came in. */
static void one_wake_up_a_message(void **state)
{
	static uint8_t body[600000];
	struct kcm_rx_msg m;
	struct kit_head h;
	struct kcm_rx *rx;
	int fd[2];

	(void)state;
	for (int mode = KCM_RX_AUTO; mode <= KCM_RX_MAP; mode++) {
		struct kcm_rx_opts o = { .sz = sizeof(o), .mode = (enum kcm_rx_mode)mode };
		struct pollfd p = { .events = POLLIN };

		kit_pair(AF_INET, KIT_MSS, fd);
		fcntl(fd[0], F_SETFL, O_NONBLOCK);
		rx = open_text(fd[0], KIT_FRAME, &o);
		p.fd = fd[0];
		kit_head(&h, 0, 5, sizeof(body));
		kit_fill(body, 5, 0, sizeof(body));
		kit_send(fd[1], &h, sizeof(h), 0);
		assert_int_equal(poll(&p, 1, 20000), 1);
		assert_int_equal(kcm_rx_recv(rx, &m, 0), -EAGAIN);
		for (size_t at = 0, n = 60000; at < sizeof(body); at += n) {
			assert_int_equal(poll(&p, 1, 0), 0);
			kit_send(fd[1], body + at, n, 0);
		}
		assert_int_equal(poll(&p, 1, 20000), 1);
		assert_int_equal(kcm_rx_recv(rx, &m, 0), 1);
		assert_true(kit_check(&m, 0));
		kcm_rx_release(rx, &m);
		assert_int_equal(kcm_rx_recv(rx, &m, 0), -EAGAIN);
		/* And a short one wakes at once. */
		kit_head(&h, 1, 5, 8);
		kit_send(fd[1], &h, sizeof(h), 0);
		kit_send(fd[1], body, 8, 0);
		for (int r = -EAGAIN; r != 1;) {
			assert_int_equal(poll(&p, 1, 20000), 1);
			r = kcm_rx_recv(rx, &m, 0);
			assert_true(r == 1 || r == -EAGAIN);
		}
		assert_true(kit_check(&m, 1));
		kcm_rx_close(rx);
		close(fd[0]);
		close(fd[1]);
	}
}

/* What the application sends itself leaves completions, with which poll() never sleeps. */
static void beside_zerocopy(void **state)
{
	static char sent[100000] __attribute__((aligned(4096)));
	struct timespec before, after;
	struct kcm_rx_msg m;
	struct kcm_rx *rx;
	int fd[2], one = 1;

	(void)state;
	for (int mode = KCM_RX_AUTO; mode <= KCM_RX_COPY; mode++) {
		struct kcm_rx_opts o = { .sz = sizeof(o), .mode = (enum kcm_rx_mode)mode };
		struct pollfd p = { 0 };

		kit_pair(AF_INET, 0, fd);
		assert_int_equal(setsockopt(fd[0], SOL_SOCKET, SO_ZEROCOPY, &one, sizeof(one)), 0);
		rx = open_text(fd[0], "u32be", &o);
		kit_send(fd[0], sent, sizeof(sent), MSG_ZEROCOPY);
		p.fd = fd[0];
		/* It is told of: from here on poll() returns at once. */
		assert_int_equal(poll(&p, 1, 20000), 1);
		assert_int_equal(p.revents, POLLERR);
		assert_int_equal(kcm_rx_recv(rx, &m, 0), -EAGAIN);
		clock_gettime(CLOCK_MONOTONIC, &before);
		assert_int_equal(kcm_rx_recv(rx, &m, 50), -EAGAIN);
		clock_gettime(CLOCK_MONOTONIC, &after);
		/* No time-out before its time. */
		assert_true((after.tv_sec - before.tv_sec) * 1000000000 + after.tv_nsec -
				    before.tv_nsec >=
			    50000000);
		/* At most twice each 200 us, and not as often as it can. */
		assert_true(stats(rx).calls < 1000);
		kit_send(fd[1], "\0\0\0\3abc", 7, 0);
		assert_int_equal(kcm_rx_recv(rx, &m, 20000), 1);
		assert_memory_equal(m.iov[0].iov_base, "\0\0\0\3abc", 7);
		kcm_rx_release(rx, &m);
		close(fd[1]);
		/* Data that nobody has read is lost with it: a reset. */
		assert_int_equal(kcm_rx_recv(rx, &m, 20000), -ECONNRESET);
		kcm_rx_close(rx);
		close(fd[0]);
	}
}

/* Urgent bytes are bytes of the stream. */
static void urgent(void **state)
{
	static uint8_t body[200000];
	struct kit_head h;

	(void)state;
	kit_fill(body, 5, 0, sizeof(body));
	for (int mode = KCM_RX_AUTO; mode <= KCM_RX_COPY; mode++) {
		struct kcm_rx_opts o = { .sz = sizeof(o), .mode = (enum kcm_rx_mode)mode };
		struct kcm_rx_msg m;
		struct kit_sender s;
		struct kcm_rx *rx;
		int fd[2];

		kit_pair(AF_INET, KIT_MSS, fd);
		rx = open_text(fd[0], KIT_FRAME, &o);
		kit_sender_open(&s, fd[1], KIT_PAGES, 1);
		for (uint64_t i = 0; i < 4; i++) {
			kit_head(&h, i, 5, sizeof(body));
			kit_send(fd[1], &h, sizeof(h), MSG_EOR);
			kit_send_pages(&s, body, 8 * KIT_PAGE);
			kit_send(fd[1], body + 8 * KIT_PAGE, i ? KIT_PAGE : 1, MSG_OOB);
			kit_send(fd[1], body + 8 * KIT_PAGE + (i ? KIT_PAGE : 1),
				 sizeof(body) - 8 * KIT_PAGE - (i ? KIT_PAGE : 1), 0);
			take(rx, &m, i);
			kcm_rx_release(rx, &m);
		}
		kit_sender_close(&s);
		kcm_rx_close(rx);
		close(fd[0]);
		close(fd[1]);
	}
}

/* A socket that is not let have more than some segments: what is waited for never is there at a
 * time. */
static void small_buffer(void **state)
{
	(void)state;
	for (int mode = KCM_RX_AUTO; mode <= KCM_RX_COPY; mode++) {
		struct kcm_rx_opts o = { .sz = sizeof(o), .mode = (enum kcm_rx_mode)mode };
		struct feed f = { .messages = 8, .body = 400000 };
		int fd[2], bytes = 30000;
		struct kcm_rx_msg m;
		struct kcm_rx *rx;

		kit_pair(AF_INET, KIT_MSS, fd);
		assert_int_equal(setsockopt(fd[0], SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes)),
				 0);
		rx = open_text(fd[0], KIT_FRAME, &o);
		f.fd = fd[1];
		pthread_create(&f.thread, NULL, feed_run, &f);
		for (uint64_t i = 0; i < f.messages; i++) {
			take(rx, &m, i);
			kcm_rx_release(rx, &m);
		}
		pthread_join(f.thread, NULL);
		kcm_rx_close(rx);
		close(fd[0]);
		close(fd[1]);
	}
}

struct reader {
	int fd;
	uint64_t messages;
	pthread_t thread;
	bool good;
};

static void *reader_run(void *arg)
{
	struct kcm_rx_opts o = { .sz = sizeof(o), .release_bytes = 2 * MIB };
	struct reader *r = arg;
	struct kcm_rx *rx = open_text(r->fd, KIT_FRAME, &o);
	struct kcm_rx_msg m;

	r->good = true;
	for (uint64_t i = 0; i < r->messages && r->good; i++)
		r->good =
			kcm_rx_recv(rx, &m, -1) == 1 && kit_check(&m, i) && !kcm_rx_release(rx, &m);
	kcm_rx_close(rx);
	return NULL;
}

static void many_threads(void **state)
{
	struct reader r[16];
	struct feed f[16];
	int fd[2];

	(void)state;
	for (int n = 2; n <= 16; n *= 2) {
		for (int i = 0; i < n; i++) {
			kit_pair(i % 2 ? AF_INET : AF_INET6, KIT_MSS, fd);
			r[i] = (struct reader){ .fd = fd[0], .messages = 10 };
			f[i] = (struct feed){ .fd = fd[1],
					      .messages = 10,
					      .body = 300000 + 70000 * (size_t)i };
			pthread_create(&r[i].thread, NULL, reader_run, &r[i]);
			pthread_create(&f[i].thread, NULL, feed_run, &f[i]);
		}
		for (int i = 0; i < n; i++) {
			pthread_join(r[i].thread, NULL);
			pthread_join(f[i].thread, NULL);
			assert_true(r[i].good);
			close(r[i].fd);
			close(f[i].fd);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_input),
		cmocka_unit_test(bad_arguments),
		cmocka_unit_test(one_wake_up_a_message),
		cmocka_unit_test(beside_zerocopy),
		cmocka_unit_test(urgent),
		cmocka_unit_test(small_buffer),
		cmocka_unit_test(many_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
