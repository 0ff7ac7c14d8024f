// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * mux_behave_err CASE - how connections end: bad and too long messages, half messages, time-outs.
 * In every case other connections are not touched, and what came whole before is delivered first.
 */
#define _GNU_SOURCE
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/time.h>
#include "mux_kit.h"
#include "owner.h"

#define MAX	 (1U << 20)
#define FRAME	 "len width=4 be max=1M"
#define BIG_PART 300000U

static uint64_t seed = 1;

/*
 * Send messages @from to @to - 1 of @conn of up to @max bytes, followed by @tail, in segments of up
 * to @seg bytes.
 */
static void send_msgs(int fd, uint32_t conn, uint32_t from, uint32_t to, size_t max, size_t seg,
		      const void *tail, size_t tail_n)
{
	uint8_t *buf = malloc((to - from) * max + tail_n + 1);
	size_t n = 0;

	for (uint32_t i = from; i < to; i++)
		n += msg_make(buf + n, conn, i, KIT_HEAD + rnd(&seed) % (max - KIT_HEAD + 1));
	if (tail_n)
		memcpy(buf + n, tail, tail_n);
	send_cut(fd, buf, n + tail_n, seg, &seed);
	free(buf);
}

/* Messages @from to @to - 1 of @conn, in order, from the only worker. */
static void expect_msgs(struct kcm_worker *w, kcm_conn_id id, uint32_t conn, uint32_t from,
			uint32_t to)
{
	for (uint32_t i = from; i < to; i++) {
		struct kcm_msg msg = recv_one(w);
		uint32_t c, num;

		CHECK_EQ(msg.event, KCM_MESSAGE);
		CHECK_EQ(msg.conn, id);
		CHECK(msg_ok(msg.data, msg.len, &c, &num));
		CHECK_EQ(c, conn);
		CHECK_EQ(num, i);
		kcm_release(w, &msg, 1);
	}
}

static void expect_event(struct kcm_worker *w, kcm_conn_id id, enum kcm_event event, int error)
{
	struct kcm_msg msg = recv_one(w);

	CHECK_EQ(msg.event, event);
	CHECK_EQ(msg.error, error);
	CHECK_EQ(msg.conn, id);
	CHECK_EQ(msg.len, 0);
	kcm_release(w, &msg, 1);
}

static void expect_nothing(struct kcm_worker *w)
{
	struct kcm_msg msg;

	CHECK_EQ(kcm_recv(w, &msg, 1, 0), 0);
}

/* How a case ends a connection. */
struct end {
	const void *tail; /* behind good messages */
	size_t tail_n;
	int how; /* and then 0 nothing, 1 half-close, 2 close, 3 reset */
	enum kcm_event event;
	int error;
};

/* A connection sends @before messages and then what must end it; another one goes on. */
/* A reset takes along what has not been sent: all must have come, or what is too much be read. */
static void close_reset(struct kcm_worker *w, int fd, kcm_conn_id id, uint32_t *before)
{
	int left = 1;

	if (*before > 20) {
		expect_msgs(w, id, 1, 0, *before);
		*before = 0;
	}
	WAIT_FOR(!ioctl(fd, SIOCOUTQ, &left) && !left);
	close_hard(fd);
}

static void ends_with(struct kit *k, struct kcm_worker *w, const struct end *e, uint32_t before,
		      size_t seg)
{
	kcm_conn_id a, b;
	int fa = kit_conn(k, &a), fb = kit_conn(k, &b);

	send_msgs(fb, 2, 0, 3, 500, 9999, NULL, 0);
	expect_msgs(w, b, 2, 0, 3);
	send_msgs(fa, 1, 0, before, 3000, seg, e->tail, e->tail_n);
	if (e->how == 1)
		shutdown(fa, SHUT_WR);
	if (e->how == 2)
		close(fa);
	if (e->how == 3)
		close_reset(w, fa, a, &before);
	expect_msgs(w, a, 1, 0, before);
	expect_event(w, a, e->event, e->error);
	if (e->how < 2) {
		recv_end(fa);
		close(fa);
	}
	WAIT_FOR(LOAD(&k->m->n_conns) == 1);
	send_msgs(fb, 2, 3, 50, 3000, 9999, NULL, 0);
	expect_msgs(w, b, 2, 3, 50);
	expect_nothing(w);
	close(fb);
	expect_event(w, b, KCM_CLOSED, 0);
	WAIT_FOR(LOAD(&k->m->n_conns) == 0);
}

/* With everything in one segment, in pieces, nearly byte by byte; as first and as later message. */
static void ends_with_all(const char *frame, const struct end *ends, size_t n)
{
	static const size_t segs[] = { 1 << 20, 999, 3 };
	static const uint32_t before[] = { 0, 20, 200 }; /* the last is more than a chunk holds */

	for (int policy = KCM_DISPATCH_LEAST; policy <= KCM_DISPATCH_CONN; policy += 2) {
		struct kit k = { .o.dispatch = policy };
		struct kcm_worker *w;

		kit_open(&k, frame);
		w = kit_worker(&k);
		for (size_t i = 0; i < n; i++)
			for (int s = 0; s < 9; s++)
				ends_with(&k, w, &ends[i], before[s / 3],
					  ends[i].tail_n > 20000 ? 99999 : segs[s % 3]);
		kcm_worker_close(w);
		kit_close(&k);
	}
}

static void bad_length(kit_args)
{
	static const uint8_t tail[16] = { 0, 0, 0, 3, 'x', 'y', 'z' };
	uint8_t both[16 + 5000];
	/* Nothing of what follows may come out, good as it looks. */
	struct end ends[] = {
		{ tail, sizeof(tail), 0, KCM_BAD_FRAME, EPROTO },
		{ both, sizeof(both), 0, KCM_BAD_FRAME, EPROTO },
	};

	memcpy(both, tail, sizeof(tail));
	msg_make(both + sizeof(tail), 1, 20, 5000);
	/* Whole = length + 4, and at least 12: 3 is impossible. */
	ends_with_all("len width=4 be hdr=12 counts-hdr adj=4 max=1M", ends, 2);
}

static void too_big(kit_args)
{
	uint32_t one_more = htonl(MAX - 4 + 1), huge = htonl(0xffffffff);
	struct end ends[] = {
		{ &one_more, 4, 0, KCM_TOO_BIG, EMSGSIZE },
		{ &huge, 4, 0, KCM_TOO_BIG, EMSGSIZE },
	};
	uint8_t *fit = malloc(MAX);
	struct kit k = { 0 };
	struct kcm_worker *w;
	kcm_conn_id a;
	int fa;

	ends_with_all(FRAME, ends, 2);
	/* Exactly the maximum passes. */
	kit_open(&k, FRAME);
	w = kit_worker(&k);
	fa = kit_conn(&k, &a);
	for (uint32_t i = 0; i < 5; i++) {
		send_all(fa, fit, msg_make(fit, 1, i, MAX));
		expect_msgs(w, a, 1, i, i + 1);
	}
	close(fa);
	expect_event(w, a, KCM_CLOSED, 0);
	kcm_worker_close(w);
	kit_close(&k);
	free(fit);
}

/* No length says so: the delimiter does not come. */
static void too_long_line(kit_args)
{
	static const size_t limits[] = { 4000, 60000, 200000 };
	char frame[32], *x = malloc(400000);

	memset(x, 'x', 400000);
	for (int i = 0; i < 3; i++) {
		struct kit k = { 0 };
		struct kcm_worker *w;
		struct kcm_msg msg;
		kcm_conn_id id;
		int fd;

		snprintf(frame, sizeof(frame), "line max=%zu", limits[i]);
		kit_open(&k, frame);
		w = kit_worker(&k);
		fd = kit_conn(&k, &id);
		x[limits[i] - 1] = '\n';
		send_cut(fd, x, limits[i], 9999, &seed);
		msg = recv_one(w);
		CHECK_EQ(msg.event, KCM_MESSAGE);
		CHECK_EQ(msg.len, limits[i]);
		CHECK(!memcmp(msg.data, x, msg.len));
		kcm_release(w, &msg, 1);
		x[limits[i] - 1] = 'x';
		send_cut(fd, x, limits[i] + 1, 9999, &seed);
		expect_event(w, id, KCM_TOO_BIG, EMSGSIZE);
		recv_end(fd);
		close(fd);
		kcm_worker_close(w);
		kit_close(&k);
	}
	free(x);
}

static void truncated(kit_args)
{
	static const size_t sizes[] = { 1, 4, 20000, 100000, BIG_PART - 1 };
	uint8_t *part = malloc(BIG_PART);
	/* The whole messages of a client that is gone with a reset came before it. */
	struct end ends[12] = {
		{ NULL, 0, 3, KCM_CLOSED, ECONNRESET },
		{ part, 100, 3, KCM_CLOSED, ECONNRESET },
	};

	msg_make(part, 1, 99, BIG_PART);
	for (int i = 0; i < 10; i++)
		ends[i + 2] = (struct end){ part, sizes[i / 2], 1 + i % 2, KCM_TRUNCATED, EPIPE };
	ends_with_all(FRAME, ends, 12);
	free(part);
}

/* @from_socket: the time-out is SO_RCVTIMEO of the socket, not asm_timeout_ms. */
static void timeouts(bool from_socket, uint32_t ms)
{
	struct timeval tv = { .tv_usec = (int)ms * 1000 };
	struct kit k = { .o.asm_timeout_ms = from_socket ? 0 : ms };
	kcm_conn_id id[4];
	struct kcm_worker *w;
	uint8_t part[3000];
	uint64_t begun;
	int fd[4];

	kit_open(&k, FRAME);
	w = kit_worker(&k);
	msg_make(part, 0, 99, sizeof(part));
	if (from_socket) /* accepted sockets inherit it */
		CHECK(!setsockopt(k.lfd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)));
	for (int i = 0; i < 4; i++)
		fd[i] = kit_conn(&k, &id[i]);
	/* Half a body, half a header, a message that never gets done; fd[3] has nothing begun. */
	for (int i = 0; i < 3; i++) {
		send_msgs(fd[i], (uint32_t)i, 0, 5, 500, 9999, NULL, 0);
		expect_msgs(w, id[i], (uint32_t)i, 0, 5);
		begun = now_ms();
		if (i < 2)
			send_all(fd[i], part, i ? 2 : 2000);
		for (uint32_t at = 0; i == 2 && LOAD(&k.m->v.conf->timeouts) < 3; at++) {
			CHECK(at < sizeof(part));
			send(fd[2], part + at, 1, MSG_NOSIGNAL);
			usleep(ms * 100);
		}
		expect_event(w, id[i], KCM_TIMEOUT, ETIMEDOUT);
		CHECK(now_ms() - begun >= ms);
		recv_end(fd[i]);
		close(fd[i]);
	}
	CHECK_EQ(k.m->v.conf->timeouts, 3);
	WAIT_FOR(LOAD(&k.m->n_conns) == 1);
	send_msgs(fd[3], 3, 0, 5, 500, 9999, NULL, 0);
	expect_msgs(w, id[3], 3, 0, 5);
	close(fd[3]);
	expect_event(w, id[3], KCM_CLOSED, 0);
	kcm_worker_close(w);
	kit_close(&k);
}

static void timeout_socket(kit_args)
{
	timeouts(true, 900);
}

static void timeout_opts(kit_args)
{
	timeouts(false, 900);
}

/* A long message that is too slow, in the owner's hands. */
static void timeout_big(kit_args)
{
	struct kit k = { .o.asm_timeout_ms = 1500 };
	uint8_t *part = malloc(BIG_PART);
	struct kcm_worker *w;
	kcm_conn_id id;
	int fd;

	kit_open(&k, FRAME);
	w = kit_worker(&k);
	fd = kit_conn(&k, &id);
	send_all(fd, part, msg_make(part, 7, 0, BIG_PART));
	expect_msgs(w, id, 7, 0, 1);
	send_all(fd, part, msg_make(part, 7, 1, BIG_PART) - 1);
	expect_event(w, id, KCM_TIMEOUT, ETIMEDOUT);
	recv_end(fd);
	close(fd);
	WAIT_FOR(LOAD(&k.m->n_conns) == 0);
	CHECK_EQ(k.m->big_used, 0);
	kcm_worker_close(w);
	kit_close(&k);
	free(part);
}

/* After a bad frame the connection stays open: it can be answered, and goes with its client. */
static void keep_on_error(kit_args)
{
	struct kit k = { .o.keep_on_error = 1 };
	uint32_t bad = htonl(MAX * 2);
	struct kcm_worker *w;
	kcm_conn_id a, b;
	char sorry[5];
	int fa, fb;

	kit_open(&k, FRAME);
	w = kit_worker(&k);
	fa = kit_conn(&k, &a);
	fb = kit_conn(&k, &b);
	send_msgs(fa, 1, 0, 10, 500, 9999, &bad, sizeof(bad));
	expect_msgs(w, a, 1, 0, 10);
	expect_event(w, a, KCM_TOO_BIG, EMSGSIZE);
	CHECK_EQ(kcm_send(w, a, "sorry", 5, 0), 0);
	CHECK_EQ(recv_all(fa, sorry, 5), 5);
	CHECK(!memcmp(sorry, "sorry", 5));
	/* What it sends now is nobody's. */
	send_msgs(fa, 1, 10, 20, 500, 9999, NULL, 0);
	send_msgs(fb, 2, 0, 20, 500, 9999, NULL, 0);
	expect_msgs(w, b, 2, 0, 20);
	expect_nothing(w);
	CHECK_EQ(LOAD(&k.m->n_conns), 2);
	close(fa);
	WAIT_FOR(LOAD(&k.m->n_conns) == 1);
	close(fb);
	expect_event(w, b, KCM_CLOSED, 0);
	expect_nothing(w);
	WAIT_FOR(LOAD(&k.m->n_conns) == 0);
	kcm_worker_close(w);
	kit_close(&k);
}

int main(int argc, char **argv)
{
	static const struct kit_case cases[] = {
		{ "bad-length", bad_length },
		{ "too-big", too_big },
		{ "too-long-line", too_long_line },
		{ "truncated", truncated },
		{ "timeout-socket", timeout_socket },
		{ "timeout-opts", timeout_opts },
		{ "timeout-big", timeout_big },
		{ "keep-on-error", keep_on_error },
		{ 0 },
	};

	return kit_main(argc, argv, cases, 400);
}
