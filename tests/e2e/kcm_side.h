/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * kcm_side.h - one set of calls for two multiplexors, the kernel's AF_KCM and libkcm's mux, so that
 * the same test can be asked of both. See kcm_side_af.h, kcm_side_mux.h.
 */
#ifndef KCM_SIDE_H
#define KCM_SIDE_H

#include <stdarg.h>
#include <sys/time.h>

#include "mux_kit.h"
#include "owner.h"

#define SIDE_CONNS   4
#define SIDE_WORKERS 4
#define SIDE_NONE_MS 300 /* nothing comes: looked for so long */
#define SIDE_MSG_MAX (1U << 20)
#define SIDE_TEXT    96

enum side_parser { SIDE_LENGTH, SIDE_DOCUMENTED, SIDE_ENDLESS };

/* What a row wants to be set up. */
struct side_plan {
	enum side_parser parser;
	enum kcm_dispatch dispatch; /* mux */
	int type;		    /* AF_KCM: 0 is SOCK_DGRAM */
	int workers;
	int asm_ms;    /* SO_RCVTIMEO of the connections */
	int buf_bytes; /* SO_SNDBUF of clients, SO_RCVBUF of the server */
};

enum side_kind { SIDE_NOTHING, SIDE_MESSAGE, SIDE_EVENT };

struct side_got {
	enum side_kind kind;
	int conn;   /* -1: not told */
	int error;  /* of an event */
	size_t len; /* of the message, as far as it was given */
	uint8_t data[SIDE_MSG_MAX];
};

struct side {
	const struct side_ops *ops;
	struct side_plan plan;
	int lfd, port;
	int near[SIDE_CONNS], far[SIDE_CONNS]; /* client's and server's end; far is -1: the mux's */
	int n_conns, n_workers;
	struct side_got got; /* what was received last */
	/* AF_KCM */
	int kcm[SIDE_WORKERS];
	struct kcmparse *bpf;
	/* mux */
	struct kit k;
	struct kcm_worker *w[SIDE_WORKERS];
	kcm_conn_id id[SIDE_CONNS];
};

struct side_ops {
	const char *name;
	void (*open)(struct side *s);
	void (*close)(struct side *s);
	int (*attach)(struct side *s, int tcp, kcm_conn_id *id);
	/* Return: a descriptor that the rest of the stream comes from, behind @rest_bytes of @rest.
	 */
	int (*detach)(struct side *s, int conn, uint8_t *rest, size_t *rest_bytes);
	void (*recv)(struct side *s, int worker, int timeout_ms);
	/* @conn: whose reply it is, -1: anybody's. Return: 0 or -errno. */
	int (*send)(struct side *s, int worker, int conn, const void *data, size_t len);
	/* Keep it back: the next send takes it along. */
	int (*send_more)(struct side *s, int worker, int conn, const void *data, size_t len);
	int (*enable)(struct side *s, int worker, bool on);
	void (*leave)(struct side *s, int worker);
	bool (*readable)(struct side *s, int worker, int timeout_ms);
	/* How connection @conn ends, as somebody is told: "EPROTO, an event". */
	void (*ended)(struct side *s, int conn, char *text);
	/* Messages that it has counted. */
	uint64_t (*counted)(struct side *s);
};

/* ---- connections ---- */

static kit_unused int side_dial(struct side *s)
{
	struct timeval tv = { .tv_sec = s->plan.asm_ms / 1000,
			      .tv_usec = s->plan.asm_ms % 1000 * 1000 };
	int i = s->n_conns++, bytes = s->plan.buf_bytes;

	CHECK(i < SIDE_CONNS);
	s->near[i] = kit_dial(s->port, 1);
	if (bytes)
		setsockopt(s->near[i], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	s->far[i] = accept4(s->lfd, NULL, NULL, SOCK_CLOEXEC);
	CHECK(s->far[i] >= 0);
	if (s->plan.asm_ms)
		setsockopt(s->far[i], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	return i;
}

static kit_unused int side_conn(struct side *s)
{
	int i = side_dial(s), ret = s->ops->attach(s, s->far[i], &s->id[i]);

	if (ret)
		die("attach: %s", strerror(-ret));
	return i;
}

static kit_unused void side_open(struct side *s, const struct side_ops *ops, struct side_plan plan)
{
	memset(s, 0, sizeof(*s));
	s->ops = ops;
	s->plan = plan;
	if (!s->plan.workers)
		s->plan.workers = 1;
	s->n_workers = s->plan.workers;
	s->lfd = kit_listen(&s->port);
	if (plan.buf_bytes)
		setsockopt(s->lfd, SOL_SOCKET, SO_RCVBUF, &plan.buf_bytes, sizeof(plan.buf_bytes));
	ops->open(s);
}

static kit_unused void side_close(struct side *s)
{
	for (int i = 0; i < s->n_conns; i++)
		if (s->near[i] >= 0)
			close(s->near[i]);
	s->ops->close(s);
	close(s->lfd);
}

/* ---- messages ---- */

/* Messages @from to @to - 1 of @conn, each @len bytes, or as long as its number says; one send. */
static kit_unused void side_send_msgs(struct side *s, int conn, uint32_t from, uint32_t to,
				      size_t len)
{
	uint8_t *buf = malloc((to - from) * (len ? len : 2000) + 1);
	size_t n = 0;

	for (uint32_t i = from; i < to; i++)
		n += msg_make(buf + n, (uint32_t)conn, i, len ? len : KIT_HEAD + i * 37 % 1500);
	send_all(s->near[conn], buf, n);
	free(buf);
}

/* The next one, as a message of @conn (-1: of any). Return: its number, -1 if it is none. */
static kit_unused int side_take(struct side *s, int worker, int conn, int timeout_ms)
{
	uint32_t c, num;

	s->ops->recv(s, worker, timeout_ms);
	if (s->got.kind != SIDE_MESSAGE || !msg_ok(s->got.data, s->got.len, &c, &num) ||
	    (conn >= 0 && c != (uint32_t)conn))
		return -1;
	return (int)num;
}

/* Those that come in order from @from on. @most: for these it waits. Return: how many. */
static kit_unused int side_take_all(struct side *s, int worker, int conn, int from, int most)
{
	int n = 0;

	while (n < most && side_take(s, worker, conn, KIT_WAIT) == from + n)
		n++;
	return n;
}

/* Those that are there now, or soon. */
static kit_unused int side_take_rest(struct side *s, int worker)
{
	int n = 0;

	while (side_take(s, worker, -1, SIDE_NONE_MS) >= 0)
		n++;
	return n;
}

#endif
