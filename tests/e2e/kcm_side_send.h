/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* kcm_side_send.h - rows: sending. */
#ifndef KCM_SIDE_SEND_H
#define KCM_SIDE_SEND_H

#include "kcm_side_end.h"

#define LONG_BYTES 20000U

/* A client asks, and another one is connected too: who gets the replies? */
static void answer(row_args)
{
	struct pollfd p[2];
	uint8_t msg[200];
	int right = 0, all = 0;

	side_open(&side, ops, (struct side_plan){ 0 });
	side_conn(&side);
	side_conn(&side);
	for (uint32_t i = 0; i < 8; i++) {
		side_send_msgs(&side, 1, i, i + 1, 100);
		CHECK_EQ(side_take(&side, 0, 1, KIT_WAIT), (int)i);
		CHECK_EQ(ops->send(&side, 0, side.got.conn, msg, msg_make(msg, 1, i, 100)), 0);
		for (int k = 0; k < 2; k++)
			p[k] = (struct pollfd){ .fd = side.near[k], .events = POLLIN };
		CHECK(poll(p, 2, KIT_WAIT) == 1);
		CHECK_EQ(recv_all(side.near[p[1].revents ? 1 : 0], msg, 100), 100);
		all++;
		right += p[1].revents != 0;
	}
	if (right == all)
		says("%d of %d", right, all);
	else
		says("some go astray");
	side_close(&side);
}

static void *send_long(void *arg)
{
	int worker = (int)(intptr_t)arg;
	uint8_t *msg = malloc(LONG_BYTES);

	for (uint32_t i = 0; i < 100; i++) {
		msg_make(msg, (uint32_t)worker, i, LONG_BYTES);
		if (side.ops->send(&side, worker, 0, msg, LONG_BYTES))
			break;
	}
	free(msg);
	return NULL;
}

static void send_whole(row_args)
{
	uint32_t next[2] = { 0 }, c, num;
	uint8_t *msg = malloc(LONG_BYTES);
	pthread_t t[2];
	int n = 0;

	side_open(&side, ops, (struct side_plan){ .workers = 2 });
	side_conn(&side);
	for (intptr_t i = 0; i < 2; i++)
		CHECK_EQ(pthread_create(&t[i], NULL, send_long, (void *)i), 0);
	for (; n < 200 && recv_all(side.near[0], msg, LONG_BYTES) == LONG_BYTES; n++)
		if (!msg_ok(msg, LONG_BYTES, &c, &num) || c > 1 || num != next[c]++)
			break;
	says("%d of 200", n);
	if (n < 200)
		shutdown(side.near[0], SHUT_RDWR);
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	side_close(&side);
	free(msg);
}

static bool comes(int timeout_ms)
{
	struct pollfd p = { .fd = side.near[0], .events = POLLIN };

	return poll(&p, 1, timeout_ms) == 1;
}

static void send_more(row_args)
{
	uint8_t msg[2][100];
	bool held;

	side_open(&side, ops, (struct side_plan){ 0 });
	side_conn(&side);
	for (uint32_t i = 0; i < 2; i++)
		msg_make(msg[i], 0, i, 100);
	CHECK_EQ(ops->send_more(&side, 0, 0, msg[0], 100), 0);
	held = !comes(SIDE_NONE_MS);
	CHECK_EQ(ops->send(&side, 0, 0, msg[1], 100), 0);
	says("%s, then %s", held ? "held" : "sent",
	     recv_all(side.near[0], msg, 200) == 200 ? "both" : "less");
	side_close(&side);
}

/* AF_KCM builds a message by MSG_MORE; libkcm takes its parts at once, kcm_sendv(). */
static int send_parts_of(uint8_t *msg, size_t cut, size_t len, bool last)
{
	struct iovec iov[2] = { { msg, cut }, { msg + cut, len - cut } };

	if (side.ops == &side_mux)
		return last ? kcm_sendv(side.w[0], side.id[0], iov, 2, 0) : 0;
	if (last)
		return af_send_flags(&side, 0, msg + cut, len - cut, 0);
	return af_send_flags(&side, 0, msg, cut, MSG_MORE);
}

static void send_parts(row_args)
{
	uint8_t parts[100], whole_one[100], got[2][100];
	uint32_t c, num;

	side_open(&side, ops, (struct side_plan){ .workers = 2 });
	side_conn(&side);
	msg_make(parts, 0, 0, sizeof(parts));
	msg_make(whole_one, 0, 1, sizeof(whole_one));
	CHECK_EQ(send_parts_of(parts, 40, sizeof(parts), false), 0);
	CHECK_EQ(ops->send(&side, 1, 0, whole_one, sizeof(whole_one)), 0);
	CHECK_EQ(send_parts_of(parts, 40, sizeof(parts), true), 0);
	CHECK_EQ(recv_all(side.near[0], got, sizeof(got)), sizeof(got));
	says("%s",
	     msg_ok(got[0], 100, &c, &num) && num == 1 && msg_ok(got[1], 100, &c, &num) && num == 0
		     ? "the parts together"
		     : "mixed");
	side_close(&side);
}

static void send_any(row_args)
{
	uint8_t msg[100];
	int n = 0;

	side_open(&side, ops, (struct side_plan){ 0 });
	side_conn(&side);
	side_conn(&side);
	close_hard(side.near[1]);
	side.near[1] = -1;
	if (ops == &side_mux)
		WAIT_FOR(kit_conns(&side.k) == 1);
	else
		af_ended(&side, 1, text);
	for (uint32_t i = 0; i < 10; i++) {
		if (ops->send(&side, 0, -1, msg, msg_make(msg, 0, i, 100)))
			break;
		if (!comes(KIT_WAIT) || recv_all(side.near[0], msg, 100) != 100)
			break;
		n++;
	}
	says("%d of 10", n);
	side_close(&side);
}

#endif
