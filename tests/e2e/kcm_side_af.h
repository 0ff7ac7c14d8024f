/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* kcm_side_af.h - kcm_side.h by AF_KCM. */
#ifndef KCM_SIDE_AF_H
#define KCM_SIDE_AF_H

#include "kcm_side.h"
#include "kcmparse.skel.h"
#include "../bpf/af_kcm.h"

static void af_open(struct side *s)
{
	s->bpf = af_kcm_parser(KIT_HEAD);
	CHECK(s->bpf);
	for (int i = 0; i < s->n_workers; i++) {
		int type = s->plan.type ? s->plan.type : SOCK_DGRAM;

		s->kcm[i] = i ? af_kcm_clone(s->kcm[0]) : af_kcm_open(type);
		if (s->kcm[i] < 0)
			die("KCM socket: %s", strerror(-s->kcm[i]));
	}
}

static void af_close(struct side *s)
{
	for (int i = 0; i < s->n_workers; i++)
		if (s->kcm[i] >= 0)
			close(s->kcm[i]);
	for (int i = 0; i < s->n_conns; i++)
		if (s->far[i] >= 0)
			close(s->far[i]);
	kcmparse__destroy(s->bpf);
}

static int af_attach(struct side *s, int tcp, kcm_conn_id *id)
{
	struct bpf_program *parser[] = { [SIDE_LENGTH] = s->bpf->progs.kcmp_frame,
					 [SIDE_DOCUMENTED] = s->bpf->progs.kcmp_documented,
					 [SIDE_ENDLESS] = s->bpf->progs.kcmp_endless };

	(void)id;
	return af_kcm_attach(s->kcm[0], tcp, bpf_program__fd(parser[s->plan.parser]));
}

static int af_detach(struct side *s, int conn, uint8_t *rest, size_t *rest_bytes)
{
	int ret = af_kcm_unattach(s->kcm[0], s->far[conn]);

	(void)rest;
	*rest_bytes = 0;
	return ret ? ret : s->far[conn];
}

static bool af_readable(struct side *s, int worker, int timeout_ms)
{
	struct pollfd p = { .fd = s->kcm[worker], .events = POLLIN };

	return poll(&p, 1, timeout_ms) == 1 && p.revents & POLLIN;
}

static void af_recv(struct side *s, int worker, int timeout_ms)
{
	ssize_t n;

	s->got.kind = SIDE_NOTHING;
	s->got.conn = -1;
	if (!af_readable(s, worker, timeout_ms))
		return;
	n = recv(s->kcm[worker], s->got.data, sizeof(s->got.data), MSG_DONTWAIT);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n < 0)
		die("recv: %s", strerror(errno));
	s->got.kind = SIDE_MESSAGE;
	s->got.len = (size_t)n;
}

static int af_send_flags(struct side *s, int worker, const void *data, size_t len, int flags)
{
	return send(s->kcm[worker], data, len, flags | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int af_send(struct side *s, int worker, int conn, const void *data, size_t len)
{
	(void)conn; /* it can't be told */
	return af_send_flags(s, worker, data, len, 0);
}

static int af_send_more(struct side *s, int worker, int conn, const void *data, size_t len)
{
	(void)conn;
	return af_send_flags(s, worker, data, len, MSG_BATCH);
}

static int af_enable(struct side *s, int worker, bool on)
{
	return af_kcm_recv_disable(s->kcm[worker], !on);
}

static void af_leave(struct side *s, int worker)
{
	close(s->kcm[worker]);
	s->kcm[worker] = -1;
}

static void af_ended(struct side *s, int conn, char *text)
{
	struct pollfd p = { .fd = s->far[conn] };
	socklen_t len = sizeof(int);
	int err = 0;

	if (poll(&p, 1, KIT_WAIT) != 1)
		die("nobody is told that the connection ended");
	getsockopt(s->far[conn], SOL_SOCKET, SO_ERROR, &err, &len);
	snprintf(text, SIDE_TEXT, "%s on the TCP socket", err ? strerrorname_np(err) : "hang-up");
}

/*
 * RX-Msgs of all connections, the last line of numbers. The multiplexors' own line is behind: they
 * learn of a message when the next one comes, see kcm_update_rx_mux_stats().
 */
static uint64_t af_counted(struct side *s)
{
	unsigned long long n = 0;
	char line[512];
	FILE *f = fopen("/proc/net/kcm_stats", "re");

	(void)s;
	while (f && fgets(line, sizeof(line), f))
		sscanf(line, " %llu", &n); /* names are no numbers */
	if (f)
		fclose(f);
	return n;
}

static const struct side_ops side_af = {
	.name = "AF_KCM",
	.open = af_open,
	.close = af_close,
	.attach = af_attach,
	.detach = af_detach,
	.recv = af_recv,
	.send = af_send,
	.send_more = af_send_more,
	.enable = af_enable,
	.leave = af_leave,
	.readable = af_readable,
	.ended = af_ended,
	.counted = af_counted,
};

#endif
