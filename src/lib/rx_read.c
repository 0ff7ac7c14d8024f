// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* rx_read.c - bytes to the chunk, and waiting until what is wanted is there. */
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "rx_conn.h"

#ifndef TCP_INQ
#define TCP_INQ 36
#endif
#ifndef TCP_CM_INQ
#define TCP_CM_INQ TCP_INQ
#endif
#ifndef SOL_TCP
#define SOL_TCP 6
#endif

/* With the number of bytes that are left in the socket. */
static ssize_t recv_inq(struct kcm_rx *rx, void *to, size_t n, int flags)
{
	union {
		struct cmsghdr hdr;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = { to, n };
	struct msghdr h = { .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = &control,
			    .msg_controllen = sizeof(control) };
	ssize_t r = recvmsg(rx->fd, &h, flags);
	int inq = 0;

	if (r < 0)
		return r;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&h); c; c = CMSG_NXTHDR(&h, c))
		if (c->cmsg_level == SOL_TCP && c->cmsg_type == TCP_CM_INQ)
			memcpy(&inq, CMSG_DATA(c), sizeof(inq));
	rx->inq = inq > 0 ? (size_t)inq : 0;
	return r;
}

ssize_t rx_read(struct kcm_rx *rx, size_t n, bool block)
{
	uint8_t *to = rx->chunk->data + rx->end;
	ssize_t r;

	if (n > rx->chunk->bytes - rx->end)
		n = rx->chunk->bytes - rx->end;
	rx->ready = false;
	if (block) {
		rx_lowat(rx, 1);
		rx_stat_put(rx);
		rx->st.waits++;
	}
	rx->st.calls++;
	if (rx->choice.now == KCM_RX_MAP)
		r = recv_inq(rx, to, n, MSG_DONTWAIT);
	else
		r = recv(rx->fd, to, n, block ? 0 : MSG_DONTWAIT);
	if (r < 0 && (errno == EAGAIN || errno == EINTR)) {
		rx->inq = 0;
		return -errno;
	}
	if (r < 0)
		return -errno;
	rx->end += (size_t)r;
	return r;
}

ssize_t rx_peek(struct kcm_rx *rx, size_t n)
{
	ssize_t r;

	rx->ready = false;
	rx->st.calls++;
	r = recv(rx->fd, rx->chunk->data + rx->end, n, MSG_PEEK | MSG_DONTWAIT);
	return r < 0 ? -errno : r;
}

#define NAP_NS 200000

static uint64_t clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

void rx_lowat(struct kcm_rx *rx, size_t want)
{
	int v = want > RX_WAIT_BYTES ? (int)RX_WAIT_BYTES : want ? (int)want : 1;

	if ((uint32_t)v == rx->lowat)
		return;
	rx->st.calls++;
	/* The kernel cuts it to half the receive buffer, and makes that grow. */
	if (!setsockopt(rx->fd, SOL_SOCKET, SO_RCVLOWAT, &v, sizeof(v)))
		rx->lowat = (uint32_t)v;
}

/* An error of the socket: reading tells, or, as it is taken from it here, we do at the end. */
static bool failed(struct kcm_rx *rx)
{
	socklen_t len = sizeof(int);
	int e = 0;

	rx->st.calls++;
	if (!getsockopt(rx->fd, SOL_SOCKET, SO_ERROR, &e, &len) && e)
		rx->sk_err = -e;
	return e;
}

/* Return: > 0 readable, 0 time-out, -errno */
static int poll_ns(struct kcm_rx *rx, int64_t ns)
{
	for (;;) {
		int64_t nap = ns >= 0 && ns < NAP_NS ? ns : NAP_NS;
		struct timespec ts = { ns / 1000000000, ns % 1000000000 };
		struct pollfd p = { rx->fd, POLLIN | POLLRDHUP, 0 };
		int r;

		rx->st.calls++;
		rx->st.waits++;
		r = ppoll(&p, 1, ns < 0 ? NULL : &ts, NULL);
		if (r < 0)
			return -errno;
		if (!r || p.revents != POLLERR || failed(rx))
			return r;
		/*
		 * Completions of what the application itself sends with MSG_ZEROCOPY wait to be
		 * read: poll() does not sleep as long as there are any.
		 */
		if (!nap)
			return 0;
		rx->st.calls++;
		nanosleep(&(struct timespec){ 0, nap }, NULL);
		if (ns >= 0)
			ns -= nap;
	}
}

int rx_wait(struct kcm_rx *rx, int timeout_ms)
{
	int64_t left = timeout_ms < 0 ? INT64_MAX : (int64_t)timeout_ms * 1000000;
	bool at_begin = rx->step == RX_FRAME && rx->start == rx->end;
	uint64_t end_ns = 0;
	int r;

	rx_stat_put(rx);
	if (timeout_ms > 0)
		end_ns = clock_ns() + (uint64_t)left;
	if (at_begin && rx->predict && rx->predict_us && left) {
		int64_t ns = (int64_t)rx->predict_us * 1000;

		rx_lowat(rx, rx->predict);
		r = poll_ns(rx, ns < left ? ns : left);
		if (r) {
			rx->ready = r > 0;
			rx->inq = rx->predict;
			return r < 0 ? r : 0;
		}
		rx->predict = 0;
		rx->same_run = 0;
	}
	rx_lowat(rx, rx->want);
	/* Give back what is released if it takes long, for the others' sake. */
	if ((rx->ring.pending_bytes || rx->cache) && left > RX_IDLE_MS * 1000000) {
		r = poll_ns(rx, RX_IDLE_MS * 1000000);
		if (r) {
			rx->ready = r > 0;
			return r < 0 ? r : 0;
		}
		kcm_rx_flush(rx);
	}
	if (end_ns) {
		uint64_t now = clock_ns();

		left = now < end_ns ? (int64_t)(end_ns - now) : 0;
	}
	r = poll_ns(rx, timeout_ms < 0 ? -1 : left);
	rx->ready = r > 0;
	return r < 0 ? r : r ? 0 : -EAGAIN;
}
