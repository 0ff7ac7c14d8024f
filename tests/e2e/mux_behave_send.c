// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * mux_behave_send CASE - replies: whole whoever else writes, batched, limited; and messages to any
 * connection.
 */
#define _GNU_SOURCE
#include <sys/ioctl.h>
#include "mux_kit.h"
#include "owner.h"

#define FRAME "u32be max=1M"

static void send_msg(int fd, uint32_t conn, uint32_t num)
{
	uint8_t buf[64];

	send_all(fd, buf, msg_make(buf, conn, num, 50));
}

/* The next message from the mux, as a client sees it. Return: its number. */
static uint32_t read_msg(int fd, uint8_t *buf, size_t size, uint32_t conn)
{
	uint32_t len, c, num;

	CHECK_EQ(recv_all(fd, buf, 4), 4);
	memcpy(&len, buf, 4);
	len = ntohl(len);
	CHECK(len + 4 <= size);
	CHECK_EQ(recv_all(fd, buf + 4, len), len);
	CHECK(msg_ok(buf, len + 4, &c, &num));
	CHECK_EQ(c, conn);
	return num;
}

static int waits(int fd)
{
	int n = 0;

	CHECK(!ioctl(fd, FIONREAD, &n));
	return n;
}

/* ---- four workers write long replies to one slow connection ---- */

#define REPLIES	    400U
#define REPLY_BYTES 200000U

static struct kit rk;

static void *replier(void *arg)
{
	struct kcm_worker *w = kit_worker(&rk);
	uint8_t *buf = malloc(REPLY_BYTES);
	struct kcm_msg msg;
	uint32_t c, num;
	int n;

	while ((n = kcm_recv(w, &msg, 1, -1)) >= 0) {
		if (msg.event == KCM_MESSAGE) {
			CHECK(msg_ok(msg.data, msg.len, &c, &num));
			msg_make(buf, c, num, REPLY_BYTES - num % 1000);
			CHECK_EQ(kcm_send(w, msg.conn, buf, REPLY_BYTES - num % 1000,
					  KCM_WAIT | (arg ? KCM_MORE : 0)),
				 0);
		}
		kcm_release(w, &msg, 1);
	}
	kcm_worker_close(w);
	free(buf);
	return NULL;
}

static void whole_replies(kit_args)
{
	uint8_t *buf = malloc(REPLY_BYTES), seen[REPLIES] = { 0 };
	int fd, small = 20000;
	uint64_t handed;
	pthread_t t[4];

	kit_open(&rk, FRAME);
	for (uintptr_t i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, replier, (void *)(i & 1));
	fd = kit_conn(&rk, NULL);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	for (uint32_t i = 0; i < REPLIES; i++)
		send_msg(fd, 5, i);
	/* Slow enough for all four to have something to write. */
	WAIT_FOR((handed = LOAD(&rk.m->v.conf->tx_handed)) > 10);
	for (uint32_t i = 0; i < REPLIES; i++) {
		uint32_t num = read_msg(fd, buf, REPLY_BYTES, 5);

		CHECK(num < REPLIES && !seen[num]++);
		if (i % 50 == 0)
			usleep(10000);
	}
	close(fd);
	WAIT_FOR(LOAD(&rk.m->n_conns) == 0);
	CHECK_EQ(rk.m->v.conf->resets, 0);
	kit_close(&rk);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	printf("%llu pieces waited for the client\n", (unsigned long long)handed);
	free(buf);
}

/* ---- KCM_MORE ---- */

static uint32_t segments(int fd)
{
	struct tcp_info ti = { 0 };
	socklen_t len = sizeof(ti);

	CHECK(!getsockopt(fd, IPPROTO_TCP, TCP_INFO, &ti, &len));
	return ti.tcpi_data_segs_in;
}

static void more(kit_args)
{
	struct kit k = { 0 };
	uint8_t buf[2000];
	struct kcm_worker *w;
	struct kcm_msg msg;
	kcm_conn_id a, b;
	uint32_t before;
	int fa, fb;

	kit_open(&k, FRAME);
	w = kit_worker(&k);
	fa = kit_conn(&k, &a);
	fb = kit_conn(&k, &b);
	before = segments(fa);
	for (uint32_t i = 0; i < 10; i++)
		CHECK_EQ(kcm_send(w, a, buf, msg_make(buf, 1, i, 300 + i), KCM_MORE), 0);
	CHECK_EQ(waits(fa), 0);
	CHECK_EQ(kcm_flush(w), 0);
	for (uint32_t i = 0; i < 10; i++)
		CHECK_EQ(read_msg(fa, buf, sizeof(buf), 1), i);
	CHECK_EQ(segments(fa) - before, 1);
	/* One without it sends all. */
	for (uint32_t i = 0; i < 10; i++)
		CHECK_EQ(kcm_send(w, a, buf, msg_make(buf, 1, i, 30), i < 9 ? KCM_MORE : 0), 0);
	for (uint32_t i = 0; i < 10; i++)
		CHECK_EQ(read_msg(fa, buf, sizeof(buf), 1), i);
	CHECK_EQ(segments(fa) - before, 2);
	/* So does one to another connection, which is kept back itself. */
	CHECK_EQ(kcm_send(w, a, buf, msg_make(buf, 1, 10, 99), KCM_MORE), 0);
	CHECK_EQ(kcm_send(w, b, buf, msg_make(buf, 2, 11, 99), KCM_MORE), 0);
	CHECK_EQ(read_msg(fa, buf, sizeof(buf), 1), 10);
	CHECK_EQ(waits(fb), 0);
	/* kcm_recv() without work flushes. */
	CHECK_EQ(kcm_recv(w, &msg, 1, 0), 0);
	CHECK_EQ(read_msg(fb, buf, sizeof(buf), 2), 11);
	/* And kcm_worker_close() does. */
	CHECK_EQ(kcm_send(w, b, buf, msg_make(buf, 2, 12, 99), KCM_MORE), 0);
	CHECK_EQ(waits(fb), 0);
	kcm_worker_close(w);
	CHECK_EQ(read_msg(fb, buf, sizeof(buf), 2), 12);
	kit_close(&k);
	close(fa);
	close(fb);
}

/* ---- the limit of what waits for a slow client ---- */

#define PIECE 50000U
#define LIMIT (1U << 20)

static void *waiter(void *arg)
{
	uint8_t *buf = malloc(PIECE);
	void **a = arg;

	CHECK_EQ(kcm_send(a[0], *(kcm_conn_id *)a[1], buf,
			  msg_make(buf, 1, *(uint32_t *)a[2], PIECE), KCM_WAIT),
		 0);
	free(buf);
	return NULL;
}

static void tx_limit(kit_args)
{
	struct kit k = { .o.tx_limit_bytes = LIMIT };
	uint8_t *buf = malloc(PIECE);
	struct kcm_worker *w;
	kcm_conn_id a, b;
	uint32_t sent = 0;
	void *args[3];
	int fa, fb, err;
	pthread_t t;

	kit_open(&k, FRAME);
	w = kit_worker(&k);
	fa = kit_conn(&k, &a);
	fb = kit_conn(&k, &b);
	while (!(err = kcm_send(w, a, buf, msg_make(buf, 1, sent, PIECE), 0))) {
		CHECK(LOAD(&k.m->v.tx[(uint32_t)a].queued_bytes) <= LIMIT);
		CHECK(++sent < 10000);
	}
	CHECK_EQ(err, -EAGAIN);
	CHECK(LOAD(&k.m->v.tx[(uint32_t)a].queued_bytes) > LIMIT - 2 * PIECE);
	CHECK(k.m->v.wstats[0].tx_again > 0);
	/* That is this connection's trouble only. */
	CHECK_EQ(kcm_send(w, b, buf, msg_make(buf, 2, 0, PIECE), 0), 0);
	CHECK_EQ(read_msg(fb, buf, PIECE, 2), 0);
	/* With KCM_WAIT it is sent as soon as the client reads, and not lost. */
	args[0] = w;
	args[1] = &a;
	args[2] = &sent;
	pthread_create(&t, NULL, waiter, args);
	for (uint32_t i = 0; i <= sent; i++)
		CHECK_EQ(read_msg(fa, buf, PIECE, 1), i);
	pthread_join(t, NULL);
	WAIT_FOR(LOAD(&k.m->v.tx[(uint32_t)a].queued_bytes) == 0);
	CHECK_EQ(waits(fa), 0);
	/* A message above the limit passes when nothing waits. */
	free(buf);
	buf = malloc(LIMIT * 2);
	CHECK_EQ(kcm_send(w, a, buf, msg_make(buf, 1, 0, LIMIT * 2), 0), 0);
	CHECK_EQ(read_msg(fa, buf, LIMIT * 2, 1), 0);
	/* Gone is gone: -ENOTCONN once the event was released, and no wait for ever. */
	close_hard(fa);
	struct kcm_msg msg = recv_one(w);
	CHECK_EQ(msg.event, KCM_CLOSED);
	CHECK_EQ(msg.conn, a);
	kcm_release(w, &msg, 1);
	WAIT_FOR(LOAD(&k.m->n_conns) == 1);
	CHECK_EQ(kcm_send(w, a, "x", 1, KCM_WAIT), -ENOTCONN);
	kcm_worker_close(w);
	kit_close(&k);
	close(fb);
	free(buf);
}

/* ---- to any connection ---- */

static void send_any(kit_args)
{
	enum { CONNS = 6 };
	struct kit k = { .o.conns = 64 };
	uint8_t *buf = malloc(100000);
	unsigned int got[CONNS] = { 0 };
	kcm_conn_id id[CONNS], to;
	struct kcm_worker *w;
	struct kcm_msg msg;
	int fd[CONNS];

	kit_open(&k, FRAME);
	w = kit_worker(&k);
	CHECK_EQ(kcm_send_any(w, "x", 1, 0, &to), -ENOTCONN);
	for (int i = 0; i < CONNS; i++)
		fd[i] = kit_conn(&k, &id[i]);
	/* All but two have much waiting. */
	for (int i = 0; i < CONNS; i++)
		for (uint32_t n = 0; i != 2 && i != 4 && n < 200; n++)
			if (kcm_send(w, id[i], buf, msg_make(buf, 0, n, 90000), 0))
				break;
	for (uint32_t n = 0; n < 50; n++) {
		CHECK_EQ(kcm_send_any(w, buf, msg_make(buf, 7, n, 100), 0, &to), 0);
		CHECK(to == id[2] || to == id[4]);
		got[to == id[2] ? 2 : 4]++;
		/* Read at once: both have nothing waiting. */
		CHECK_EQ(read_msg(fd[to == id[2] ? 2 : 4], buf, 1000, 7), n);
	}
	/* One of them is reset, and the mux may not know yet: all go to the other. */
	close_hard(fd[2]);
	for (uint32_t n = 0; n < 10; n++) {
		CHECK_EQ(kcm_send_any(w, buf, msg_make(buf, 7, n, 100), 0, &to), 0);
		CHECK_EQ(to, id[4]);
		CHECK_EQ(read_msg(fd[4], buf, 1000, 7), n);
	}
	msg = recv_one(w);
	CHECK_EQ(msg.event, KCM_CLOSED);
	CHECK_EQ(msg.conn, id[2]);
	kcm_release(w, &msg, 1);
	for (int i = 0; i < CONNS; i++)
		if (i != 2)
			close(fd[i]);
	kcm_worker_close(w);
	kit_close(&k);
	free(buf);
}

int main(int argc, char **argv)
{
	static const struct kit_case cases[] = {
		{ "whole-replies", whole_replies },
		{ "more", more },
		{ "tx-limit", tx_limit },
		{ "send-any", send_any },
		{ 0 },
	};

	return kit_main(argc, argv, cases, 400);
}
