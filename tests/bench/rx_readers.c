// SPDX-License-Identifier: GPL-2.0
/*
 * rx_readers.c - ways to receive. Those of the kernel take bytes; rx takes messages, and has to
 * tell where each ends.
 */
#include "rx_bench.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kcm_rx.h"
#include "rx_uring.h"

uint64_t rxb_touch(const void *p, size_t n)
{
	const uint64_t *w = p;
	uint64_t sum = 0;

	if ((uintptr_t)p % sizeof(*w)) {
		const uint8_t *b = p;

		for (size_t i = 0; i < n; i++)
			sum += b[i];
		return sum;
	}
	for (size_t i = 0; i < n / sizeof(*w); i++)
		sum += w[i];
	return sum;
}

static volatile uint64_t sink;

static int run_recv(int fd, const struct rxb_case *c, struct rxb_result *r, size_t bytes)
{
	uint8_t *buf = malloc(bytes);
	uint64_t sum = 0;
	ssize_t n;

	while ((n = recv(fd, buf, bytes, 0)) > 0) {
		r->calls++;
		r->bytes += (uint64_t)n;
		if (c->touch)
			sum += rxb_touch(buf, (size_t)n);
	}
	sink = sum;
	free(buf);
	return n < 0 ? -errno : 0;
}

static int run_recv64k(int fd, const struct rxb_case *c, struct rxb_result *r)
{
	return run_recv(fd, c, r, 64 << 10);
}

static int run_recv1m(int fd, const struct rxb_case *c, struct rxb_result *r)
{
	return run_recv(fd, c, r, 1 << 20);
}

/* As a reader of messages does it without rx: header, then the whole payload. */
static int run_recvmsgs(int fd, const struct rxb_case *c, struct rxb_result *r)
{
	uint8_t *buf = malloc(RXB_HEAD + c->payload);
	uint64_t sum = 0;
	ssize_t n = 0;

	for (;;) {
		size_t have = 0, want = RXB_HEAD + c->payload;

		for (; have < want; have += (size_t)n) {
			/* The length comes first. */
			size_t to = have < RXB_HEAD ? RXB_HEAD : want;

			n = recv(fd, buf + have, to - have, 0);
			r->calls++;
			if (n <= 0)
				break;
		}
		if (n <= 0)
			break;
		r->bytes += want;
		r->messages++;
		if (c->touch)
			sum += rxb_touch(buf + RXB_HEAD, c->payload);
	}
	sink = sum;
	free(buf);
	return n < 0 ? -errno : 0;
}

/* Nothing is copied: what the rest costs. */
static int run_trunc(int fd, const struct rxb_case *c, struct rxb_result *r)
{
	ssize_t n;

	(void)c;
	while ((n = recv(fd, NULL, 1 << 20, MSG_TRUNC)) > 0) {
		r->calls++;
		r->bytes += (uint64_t)n;
	}
	return n < 0 ? -errno : 0;
}

static int run_splice(int fd, const struct rxb_case *c, struct rxb_result *r)
{
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC), p[2];
	ssize_t n;

	(void)c;
	if (pipe2(p, O_CLOEXEC))
		return -errno;
	fcntl(p[1], F_SETPIPE_SZ, 1 << 20);
	while ((n = splice(fd, NULL, p[1], NULL, 1 << 20, SPLICE_F_MOVE)) > 0) {
		r->bytes += (uint64_t)n;
		r->calls++;
		while (n > 0) {
			ssize_t w = splice(p[0], NULL, null, NULL, (size_t)n, SPLICE_F_MOVE);

			r->calls++;
			if (w <= 0)
				break;
			n -= w;
		}
	}
	close(p[0]);
	close(p[1]);
	close(null);
	return n < 0 ? -errno : 0;
}

/* ---- as tools/testing/selftests/net/tcp_mmap.c does it: one place, used again and again ---- */
#define ZC_CHUNK (512U << 10)

struct zc {
	uint64_t address;
	uint32_t length, recv_skip_hint, inq;
	int32_t err;
	uint64_t copybuf_address;
	int32_t copybuf_len;
	uint32_t flags;
};

static int run_mmap(int fd, const struct rxb_case *c, struct rxb_result *r)
{
	uint8_t *at = mmap(NULL, ZC_CHUNK, PROT_READ, MAP_SHARED, fd, 0), *buf = malloc(ZC_CHUNK);
	uint64_t sum = 0;
	int lowat = ZC_CHUNK;
	ssize_t n = 1;

	if (at == MAP_FAILED)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &lowat, sizeof(lowat));
	fcntl(fd, F_SETFL, O_NONBLOCK);
	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN | POLLERR | POLLHUP | POLLRDHUP };
		struct zc zc = { .address = (uintptr_t)at, .length = ZC_CHUNK };
		socklen_t len = sizeof(zc);

		poll(&p, 1, 10000);
		r->calls += 2;
		if (getsockopt(fd, IPPROTO_TCP, TCP_ZEROCOPY_RECEIVE, &zc, &len))
			break;
		if (zc.length) {
			r->bytes += zc.length;
			r->mapped += zc.length;
			if (c->touch)
				sum += rxb_touch(at, zc.length);
			madvise(at, zc.length, MADV_DONTNEED);
			r->calls++;
			r->flushes++;
		}
		if (zc.recv_skip_hint) {
			n = recv(fd, buf,
				 zc.recv_skip_hint < ZC_CHUNK ? zc.recv_skip_hint : ZC_CHUNK, 0);
			r->calls++;
			if (n > 0) {
				r->bytes += (uint64_t)n;
				if (c->touch)
					sum += rxb_touch(buf, (size_t)n);
			}
			if (!n)
				break;
		}
	}
	sink = sum;
	munmap(at, ZC_CHUNK);
	free(buf);
	return 0;
}

/* ---- rx ---- */
static int run_rx(int fd, const struct rxb_case *c, struct rxb_result *r, enum kcm_rx_mode mode)
{
	struct kcm_rx_opts o = { .sz = sizeof(o), .mode = mode };
	struct kcm_frame f;
	struct kcm_rx *rx;
	struct kcm_rx_msg m;
	struct kcm_rx_stats st;
	uint64_t sum = 0;
	int err = kcm_frame_parse(RXB_FRAME, &f, NULL, 0);

	err = err ?: kcm_rx_open(fd, &f, &o, &rx);
	if (err)
		return err;
	while ((err = kcm_rx_recv(rx, &m, -1)) == 1) {
		if (m.len != RXB_HEAD + c->payload)
			r->wrong = true;
		for (unsigned int i = 0; c->touch && i < m.iovcnt; i++)
			sum += rxb_touch(m.iov[i].iov_base, m.iov[i].iov_len);
		kcm_rx_release(rx, &m);
	}
	sink = sum;
	kcm_rx_stats(rx, &st, sizeof(st));
	r->bytes = st.bytes;
	r->messages = st.messages;
	r->mapped = st.mapped_bytes;
	r->one_piece = st.one_piece;
	r->calls = st.calls;
	r->flushes = st.releases;
	kcm_rx_close(rx);
	return err;
}

static int run_rx_auto(int fd, const struct rxb_case *c, struct rxb_result *r)
{
	return run_rx(fd, c, r, KCM_RX_AUTO);
}

static int run_rx_map(int fd, const struct rxb_case *c, struct rxb_result *r)
{
	return run_rx(fd, c, r, KCM_RX_MAP);
}

static int run_rx_copy(int fd, const struct rxb_case *c, struct rxb_result *r)
{
	return run_rx(fd, c, r, KCM_RX_COPY);
}

const struct rxb_reader rxb_readers[] = {
	{ "rx", "messages, adaptive", run_rx_auto, true },
	{ "rx-map", "messages, always mapped", run_rx_map, true },
	{ "rx-copy", "messages, always copied", run_rx_copy, false },
	{ "recv-64k", "recv() to 64 KiB", run_recv64k, false },
	{ "recv-1m", "recv() to 1 MiB", run_recv1m, false },
	{ "recv-msg", "messages: recv() header, then payload", run_recvmsgs, false },
	{ "uring", "io_uring, recv to 256 KiB", rxb_run_uring, false },
	{ "tcp_mmap", "the kernel's selftest loop", run_mmap, true },
	{ "splice", "splice() to /dev/null", run_splice, false },
	{ "trunc", "MSG_TRUNC: the limit", run_trunc, false },
	{ NULL, NULL, NULL, false },
};

const struct rxb_reader *rxb_reader(const char *name)
{
	for (const struct rxb_reader *r = rxb_readers; r->name; r++)
		if (!strcmp(r->name, name))
			return r;
	return NULL;
}
