/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* kcm_side_end.h - rows: how connections end, bounds, attach and detach, sending. */
#ifndef KCM_SIDE_END_H
#define KCM_SIDE_END_H

#include "kcm_side_recv.h"

#define BIG_BYTES (8U << 20)

/* Five messages, then @tail_n bytes of @tail; how does it end, and what does the client see? */
static void ends(const struct side_ops *ops, struct side_plan plan, const void *tail, size_t tail_n,
		 bool closes, char *text)
{
	char how[SIDE_TEXT], c;
	const char *seen = "";
	struct pollfd p;
	int n;

	plan.workers = 1;
	side_open(&side, ops, plan);
	side_conn(&side);
	side_send_msgs(&side, 0, 0, 5, 0);
	send_all(side.near[0], tail, tail_n);
	if (closes)
		shutdown(side.near[0], SHUT_WR);
	n = side_take_all(&side, 0, 0, 0, 5);
	ops->ended(&side, 0, how);
	if (!closes) {
		p = (struct pollfd){ .fd = side.near[0], .events = POLLIN };
		seen = poll(&p, 1, ops == &side_mux ? KIT_WAIT : SIDE_NONE_MS) == 1 &&
				       recv(side.near[0], &c, 1, 0) <= 0
			       ? "; closed"
			       : "; stays open";
	}
	says("%d, %.60s%s", n, how, seen);
	side_close(&side);
}

static void bad_length(row_args)
{
	static const uint8_t bad[12] = { 0, 0, 0, 3 };

	ends(ops, (struct side_plan){ 0 }, bad, sizeof(bad), false, text);
}

static void too_big(row_args)
{
	uint32_t big[3] = { htonl(BIG_BYTES) };

	ends(ops, (struct side_plan){ 0 }, big, sizeof(big), false, text);
}

static void half(row_args)
{
	uint8_t msg[1000];

	msg_make(msg, 0, 5, sizeof(msg));
	ends(ops, (struct side_plan){ 0 }, msg, 500, true, text);
}

static void closed(row_args)
{
	ends(ops, (struct side_plan){ 0 }, NULL, 0, true, text);
}

static void late(row_args)
{
	uint8_t msg[1000];

	msg_make(msg, 0, 5, sizeof(msg));
	ends(ops, (struct side_plan){ .asm_ms = 1000 }, msg, 500, false, text);
}

/* A connection is in the midst of a message, another one has begun none. */
static void silent(row_args)
{
	uint8_t msg[1000];
	char how[SIDE_TEXT];

	side_open(&side, ops, (struct side_plan){ .asm_ms = 500 });
	side_conn(&side);
	side_conn(&side);
	msg_make(msg, 0, 0, sizeof(msg));
	send_all(side.near[0], msg, 500);
	ops->ended(&side, 0, how);
	side_send_msgs(&side, 1, 0, 3, 0);
	says("%d of 3", side_take_all(&side, 0, 1, 0, 3));
	side_close(&side);
}

static void others(row_args)
{
	static const uint8_t bad[12] = { 0, 0, 0, 3 };
	char how[SIDE_TEXT];

	side_open(&side, ops, (struct side_plan){ 0 });
	side_conn(&side);
	side_conn(&side);
	send_all(side.near[0], bad, sizeof(bad));
	ops->ended(&side, 0, how);
	side_send_msgs(&side, 1, 0, 20, 0);
	says("%d of 20", side_take_all(&side, 0, 1, 0, 20));
	side_close(&side);
}

/* ---- bounds ---- */

/* What @fd takes until it takes nothing for a while, at most @most. */
static size_t pour(int fd, const void *p, size_t n, size_t most)
{
	struct pollfd pf = { .fd = fd, .events = POLLOUT };
	size_t all = 0;

	while (all < most && poll(&pf, 1, SIDE_NONE_MS * 3) == 1) {
		ssize_t r = send(fd, (const uint8_t *)p + all % n, n - all % n,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (r < 0 && errno != EAGAIN)
			break;
		all += r > 0 ? (size_t)r : 0;
	}
	return all;
}

static void backpressure(row_args)
{
	enum { MSGS = 64000, BYTES = 1000 };
	uint8_t *all = malloc((size_t)MSGS * BYTES);
	size_t sent, whole_msgs;
	int n;

	for (uint32_t i = 0; i < MSGS; i++)
		msg_make(all + (size_t)i * BYTES, 0, i, BYTES);
	side_open(&side, ops, (struct side_plan){ .buf_bytes = 32768 });
	side_conn(&side);
	sent = pour(side.near[0], all, (size_t)MSGS * BYTES, (size_t)MSGS * BYTES);
	whole_msgs = sent / BYTES;
	n = side_take_all(&side, 0, 0, 0, (int)whole_msgs);
	says("%s, %s", sent < (size_t)MSGS * BYTES ? "the sender stops" : "without end",
	     n == (int)whole_msgs ? "nothing lost" : "messages lost");
	side_close(&side);
	free(all);
}

static void endless(row_args)
{
	static uint8_t x[65536];
	size_t sent;

	memset(x, 'x', sizeof(x));
	side_open(&side, ops, (struct side_plan){ .parser = SIDE_ENDLESS, .buf_bytes = 32768 });
	side_conn(&side);
	sent = pour(side.near[0], x, sizeof(x), BIG_BYTES);
	if (sent < BIG_BYTES) {
		char how[SIDE_TEXT];

		ops->ended(&side, 0, how);
		says("%s", how);
	} else {
		says("8 MiB taken, in buffers of 64 KiB");
	}
	side_close(&side);
}

/* ---- attach and detach ---- */

static void attach_error(const struct side_ops *ops, int fd, char *text)
{
	kcm_conn_id id;
	int ret = ops->attach(&side, fd, &id);

	says("%s", ret ? strerrorname_np(-ret) : "taken");
}

static void attach_twice(row_args)
{
	int again;

	side_open(&side, ops, (struct side_plan){ 0 });
	side_dial(&side);
	again = dup(side.far[0]); /* the mux has the first */
	CHECK_EQ(ops->attach(&side, side.far[0], &side.id[0]), 0);
	attach_error(ops, again, text);
	close(again);
	side_close(&side);
}

static void attach_udp(row_args)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	side_open(&side, ops, (struct side_plan){ 0 });
	attach_error(ops, fd, text);
	side_close(&side);
	close(fd);
}

static void attach_listener(row_args)
{
	int port, fd = kit_listen(&port);

	side_open(&side, ops, (struct side_plan){ 0 });
	attach_error(ops, fd, text);
	side_close(&side);
	close(fd);
}

/* Detached after three messages and @begun bytes of the fourth: is the rest there, from where? */
static void detaches(const struct side_ops *ops, size_t begun, char *text)
{
	uint8_t msg[1000], back[1000];
	size_t rest = 0;
	int fd;

	side_open(&side, ops, (struct side_plan){ 0 });
	side_conn(&side);
	side_send_msgs(&side, 0, 0, 3, 0);
	CHECK_EQ(side_take_all(&side, 0, 0, 0, 3), 3);
	msg_make(msg, 0, 3, sizeof(msg));
	send_all(side.near[0], msg, begun);
	/* What was begun is with the multiplexor. */
	if (begun)
		CHECK_EQ(side_take_rest(&side, 0), 0);
	WAIT_FOR((fd = ops->detach(&side, 0, back, &rest)) != -EAGAIN);
	if (fd < 0)
		die("detach: %s", strerror(-fd));
	send_all(side.near[0], msg + begun, sizeof(msg) - begun);
	shutdown(side.near[0], SHUT_WR);
	rest += recv_all(fd, back + rest, sizeof(back) - rest) > 0 ? 0 : 0;
	says("%s", !memcmp(back, msg, sizeof(msg)) ? "all of the next message"
						   : "what was begun is lost");
	if (ops == &side_mux)
		close(fd);
	side_close(&side);
}

static void detach(row_args)
{
	detaches(ops, 0, text);
}

static void detach_half(row_args)
{
	detaches(ops, 500, text);
}

#endif
