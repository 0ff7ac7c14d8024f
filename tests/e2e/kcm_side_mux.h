/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* kcm_side_mux.h - kcm_side.h by libkcm. */
#ifndef KCM_SIDE_MUX_H
#define KCM_SIDE_MUX_H

#include "kcm_side.h"

static void mx_open(struct side *s)
{
	static const char *const frame[] = {
		[SIDE_LENGTH] = "len width=4 be hdr=12 counts-hdr adj=4 max=1M",
		[SIDE_DOCUMENTED] = "len width=4 be hdr=12 counts-hdr adj=4 max=1M",
		[SIDE_ENDLESS] = "line max=64K",
	};
	int lfd = s->lfd;

	s->k.o.dispatch = s->plan.dispatch;
	s->k.o.arena_bytes = 6 << 20;
	kit_open(&s->k, frame[s->plan.parser]);
	close(s->k.lfd);
	s->k.lfd = dup(lfd);
	for (int i = 0; i < s->n_workers; i++)
		s->w[i] = kit_worker(&s->k);
}

static void mx_close(struct side *s)
{
	for (int i = 0; i < s->n_workers; i++)
		if (s->w[i])
			kcm_worker_close(s->w[i]);
	kit_close(&s->k);
}

static int mx_attach(struct side *s, int tcp, kcm_conn_id *id)
{
	return kcm_attach(s->k.m, tcp, NULL, 0, id);
}

static int mx_detach(struct side *s, int conn, uint8_t *rest, size_t *rest_bytes)
{
	void *p = NULL;
	int fd = kcm_detach(s->k.m, s->id[conn], &p, rest_bytes);

	if (fd >= 0)
		memcpy(rest, p, *rest_bytes);
	free(p);
	return fd;
}

static void mx_recv(struct side *s, int worker, int timeout_ms)
{
	struct side_got *g = &s->got;
	struct kcm_msg msg;
	int n = kcm_recv(s->w[worker], &msg, 1, timeout_ms);

	g->kind = SIDE_NOTHING;
	if (n < 0 && n != -ESHUTDOWN)
		die("kcm_recv: %s", strerror(-n));
	if (n <= 0)
		return;
	g->kind = msg.event == KCM_MESSAGE ? SIDE_MESSAGE : SIDE_EVENT;
	g->error = msg.error;
	g->len = msg.len;
	CHECK(msg.len <= sizeof(g->data));
	memcpy(g->data, msg.data, msg.len);
	g->conn = -1;
	for (int i = 0; i < s->n_conns; i++)
		if (s->id[i] == msg.conn)
			g->conn = i;
	kcm_release(s->w[worker], &msg, 1);
}

static int mx_send(struct side *s, int worker, int conn, const void *data, size_t len)
{
	if (conn < 0)
		return kcm_send_any(s->w[worker], data, len, 0, NULL);
	return kcm_send(s->w[worker], s->id[conn], data, len, 0);
}

static int mx_send_more(struct side *s, int worker, int conn, const void *data, size_t len)
{
	return kcm_send(s->w[worker], s->id[conn], data, len, KCM_MORE);
}

static int mx_enable(struct side *s, int worker, bool on)
{
	return kcm_worker_enable(s->w[worker], on);
}

static void mx_leave(struct side *s, int worker)
{
	kcm_worker_close(s->w[worker]);
	s->w[worker] = NULL;
}

static bool mx_readable(struct side *s, int worker, int timeout_ms)
{
	struct pollfd p = { .fd = kcm_poll_fd(s->w[worker]), .events = POLLIN };

	return poll(&p, 1, timeout_ms) == 1 && p.revents & POLLIN;
}

static void mx_ended(struct side *s, int conn, char *text)
{
	mx_recv(s, 0, KIT_WAIT);
	if (s->got.kind != SIDE_EVENT || s->got.conn != conn)
		die("no event of the connection came");
	snprintf(text, SIDE_TEXT, "%s, an event",
		 s->got.error ? strerrorname_np(s->got.error) : "closed");
}

static uint64_t mx_counted(struct side *s)
{
	struct kcm_wstat *st = &s->k.m->v.wstats[kcm_worker_slot(s->w[0])];

	return LOAD(&st->msgs);
}

static const struct side_ops side_mux = {
	.name = "mux",
	.open = mx_open,
	.close = mx_close,
	.attach = mx_attach,
	.detach = mx_detach,
	.recv = mx_recv,
	.send = mx_send,
	.send_more = mx_send_more,
	.enable = mx_enable,
	.leave = mx_leave,
	.readable = mx_readable,
	.ended = mx_ended,
	.counted = mx_counted,
};

#endif
