/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* kcm_side_recv.h - rows: how messages are received, and by which worker. */
#ifndef KCM_SIDE_RECV_H
#define KCM_SIDE_RECV_H

#include "kcm_side.h"

#define row_args  const struct side_ops *ops, char *text
#define says(...) snprintf(text, SIDE_TEXT, __VA_ARGS__)

static struct side side;

static void whole(row_args)
{
	uint8_t *buf = malloc(200 * 3000);
	uint64_t seed = 1;
	size_t n = 0;

	side_open(&side, ops, (struct side_plan){ 0 });
	side_conn(&side);
	for (uint32_t i = 0; i < 200; i++)
		n += msg_make(buf + n, 0, i, KIT_HEAD + rnd(&seed) % 2900);
	send_cut(side.near[0], buf, n, 999, &seed);
	says("%d of 200", side_take_all(&side, 0, 0, 0, 200));
	side_close(&side);
	free(buf);
}

static void one_segment(const struct side_ops *ops, enum side_parser parser, char *text)
{
	side_open(&side, ops, (struct side_plan){ .parser = parser });
	side_conn(&side);
	side_send_msgs(&side, 0, 0, 12, 0);
	for (int i = 0; i < 12; i++)
		if (side_take(&side, 0, 0, SIDE_NONE_MS * 4) != i) {
			says("cut at wrong places");
			side_close(&side);
			return;
		}
	says("12 of 12");
	side_close(&side);
}

static void mixed(row_args)
{
	one_segment(ops, SIDE_LENGTH, text);
}

static void documented(row_args)
{
	one_segment(ops, SIDE_DOCUMENTED, text);
}

static void early(row_args)
{
	side_open(&side, ops, (struct side_plan){ 0 });
	side_dial(&side);
	side_send_msgs(&side, 0, 0, 5, 0);
	CHECK_EQ(side.ops->attach(&side, side.far[0], &side.id[0]), 0);
	says("%d of 5", side_take_all(&side, 0, 0, 0, 5));
	side_close(&side);
}

static void origin(row_args)
{
	int right = 0;

	side_open(&side, ops, (struct side_plan){ 0 });
	for (int i = 0; i < 3; i++)
		side_conn(&side);
	for (int i = 2; i >= 0; i--) {
		side_send_msgs(&side, i, 0, 1, 100);
		CHECK_EQ(side_take(&side, 0, i, KIT_WAIT), 0);
		right += side.got.conn == i;
	}
	says(right == 3 ? "told" : "not told");
	side_close(&side);
}

static void readable(row_args)
{
	bool before, then, after;

	side_open(&side, ops, (struct side_plan){ 0 });
	side_conn(&side);
	CHECK_EQ(side_take(&side, 0, 0, 0), -1); /* a mux counts who has found nothing as waiting */
	before = ops->readable(&side, 0, SIDE_NONE_MS);
	side_send_msgs(&side, 0, 0, 1, 100);
	then = ops->readable(&side, 0, KIT_WAIT);
	CHECK_EQ(side_take(&side, 0, 0, KIT_WAIT), 0);
	CHECK_EQ(side_take(&side, 0, 0, 0), -1);
	after = ops->readable(&side, 0, SIDE_NONE_MS);
	says("%s, %s, %s", before ? "yes" : "no", then ? "yes" : "no", after ? "yes" : "no");
	side_close(&side);
}

#define PART 16

/* libkcm gives messages where they are: there is no buffer to be too small. */
static bool small_buffer(const struct side_ops *ops, int type, char *text)
{
	side_open(&side, ops, (struct side_plan){ .type = type });
	side_conn(&side);
	side_send_msgs(&side, 0, 0, 2, 100);
	if (ops == &side_af) {
		CHECK(ops->readable(&side, 0, KIT_WAIT));
		return true;
	}
	CHECK_EQ(side_take(&side, 0, 0, KIT_WAIT), 0);
	says("%zu of 100, in place", side.got.len);
	return false;
}

static void truncated(row_args)
{
	uint8_t part[PART];
	struct iovec iov = { part, sizeof(part) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (small_buffer(ops, SOCK_DGRAM, text)) {
		ssize_t n = recvmsg(side.kcm[0], &m, 0);

		says("%zd of 100%s, then %s", n, m.msg_flags & MSG_TRUNC ? ", MSG_TRUNC" : "",
		     side_take(&side, 0, 0, KIT_WAIT) == 1 ? "the next" : "its rest");
	}
	side_close(&side);
}

/* In parts, as long as they are of the first message. */
static void partial(row_args)
{
	uint8_t first[100], part[PART];
	size_t got = 0;

	if (small_buffer(ops, SOCK_SEQPACKET, text)) {
		msg_make(first, 0, 0, sizeof(first));
		while (got < sizeof(first) && ops->readable(&side, 0, SIDE_NONE_MS)) {
			ssize_t n = recv(side.kcm[0], part, sizeof(part), MSG_DONTWAIT);

			if (n <= 0 || memcmp(part, first + got, (size_t)n))
				break;
			got += (size_t)n;
		}
		says("%zu of 100%s", got, got < sizeof(first) ? ", then the next" : "");
	}
	side_close(&side);
}

/* What kcm_recv() gave is where it was, and nobody else's, until kcm_release(). */
static void peek_mux(char *text)
{
	struct kcm_msg msg = recv_one(side.w[0]);
	bool others = side_take(&side, 1, -1, SIDE_NONE_MS) >= 0;
	uint32_t c, num;

	says("%zu bytes, %s", msg.len,
	     !others && msg_ok(msg.data, msg.len, &c, &num) ? "there until they are released"
							    : "then others");
	kcm_release(side.w[0], &msg, 1);
}

static void peek(row_args)
{
	uint8_t a[200] = { 0 };
	ssize_t n;

	side_open(&side, ops, (struct side_plan){ .workers = ops == &side_mux ? 2 : 1 });
	side_conn(&side);
	side_send_msgs(&side, 0, 0, 1, 100);
	if (ops == &side_mux) {
		peek_mux(text);
	} else {
		CHECK(ops->readable(&side, 0, KIT_WAIT));
		n = recv(side.kcm[0], a, sizeof(a), MSG_PEEK);
		says("%zd bytes, %s", n,
		     side_take(&side, 0, 0, KIT_WAIT) == 0 ? "and again without it"
							   : "then nothing");
	}
	side_close(&side);
}

/* ---- who gets what ---- */

/* Twelve messages and three workers that wait. @apart: each is taken before the next is sent. */
static void shares(const struct side_ops *ops, bool apart, char *text)
{
	int n[3] = { 0 };

	side_open(&side, ops, (struct side_plan){ .workers = 3, .dispatch = KCM_DISPATCH_ROBIN });
	side_conn(&side);
	for (uint32_t i = 0; i < 12; i += apart ? 1 : 12) {
		int want = apart ? 1 : 12;

		side_send_msgs(&side, 0, i, i + (uint32_t)want, 64);
		for (uint64_t end = now_ms() + KIT_WAIT; want;) {
			for (int w = 0; w < 3; w++)
				while (side_take(&side, w, 0, 0) >= 0) {
					n[w]++;
					want--;
				}
			if (now_ms() > end)
				die("%d messages do not come", want);
		}
	}
	/* Whose turn is first is nobody's business. */
	for (int i = 0; i < 2; i++)
		for (int w = 0; w < 2; w++)
			if (n[w] < n[w + 1]) {
				int t = n[w];

				n[w] = n[w + 1];
				n[w + 1] = t;
			}
	says("%d, %d, %d", n[0], n[1], n[2]);
	side_close(&side);
}

static void in_turn(row_args)
{
	shares(ops, true, text);
}

static void in_turn_segment(row_args)
{
	shares(ops, false, text);
}

/* Six messages in a segment. Who takes the first is busy with it from then on. */
static void idle(row_args)
{
	int busy;

	side_open(&side, ops, (struct side_plan){ .workers = 2 });
	side_conn(&side);
	side_send_msgs(&side, 0, 0, 6, 64);
	for (busy = 0; side_take(&side, busy, 0, 1) < 0;)
		busy = !busy;
	says("%d of 5", side_take_rest(&side, !busy));
	side_close(&side);
}

/* Six messages wait for worker 0 when it is disabled, or leaves; who takes them then? */
static void moves(const struct side_ops *ops, bool leaves, char *text)
{
	side_open(&side, ops, (struct side_plan){ .workers = 2 });
	side_conn(&side);
	CHECK_EQ(ops->enable(&side, 1, false), 0);
	side_send_msgs(&side, 0, 0, 6, 64);
	if (ops == &side_af)
		CHECK(ops->readable(&side, 0, KIT_WAIT));
	CHECK_EQ(ops->enable(&side, 1, true), 0);
	if (leaves)
		ops->leave(&side, 0);
	else
		CHECK_EQ(ops->enable(&side, 0, false), 0);
	says("%d of 6", side_take_all(&side, 1, 0, 0, 6));
	side_close(&side);
}

static void disabled(row_args)
{
	moves(ops, false, text);
}

static void leaves(row_args)
{
	moves(ops, true, text);
}

static void all_disabled(row_args)
{
	int before;

	side_open(&side, ops, (struct side_plan){ 0 });
	side_conn(&side);
	CHECK_EQ(ops->enable(&side, 0, false), 0);
	side_send_msgs(&side, 0, 0, 6, 64);
	before = side_take_rest(&side, 0);
	CHECK_EQ(ops->enable(&side, 0, true), 0);
	says("%d, then %d of 6", before, side_take_all(&side, 0, 0, before, 6 - before));
	side_close(&side);
}

static void last_leaves(row_args)
{
	int n = 0;

	side_open(&side, ops, (struct side_plan){ 0 });
	side_conn(&side);
	side_send_msgs(&side, 0, 0, 5, 64);
	CHECK_EQ(side_take(&side, 0, 0, KIT_WAIT), 0);
	ops->leave(&side, 0);
	if (ops == &side_mux) {
		side.w[0] = kit_worker(&side.k);
		n = side_take_all(&side, 0, 0, 1, 4);
	}
	says(n ? "%d of 4 for who comes next" : "the multiplexor is gone, and they with it", n);
	side_close(&side);
}

static void counted(row_args)
{
	uint64_t before;

	side_open(&side, ops, (struct side_plan){ 0 });
	side_conn(&side);
	before = ops->counted(&side);
	side_send_msgs(&side, 0, 0, 50, 0);
	CHECK_EQ(side_take_all(&side, 0, 0, 0, 50), 50);
	says("%llu", (unsigned long long)(ops->counted(&side) - before));
	side_close(&side);
}

#endif
