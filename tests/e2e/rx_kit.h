/* SPDX-License-Identifier: GPL-2.0 */
/*
 * rx_kit.h - messages whose every byte can be told, for the tests of rx.
 *
 * A message: 64 bytes of header (length of the body, big-endian; number; seed), then the body, word
 * i of which follows from the seed. As a frame: KIT_FRAME.
 */
#ifndef KCM_TESTS_RX_KIT_H
#define KCM_TESTS_RX_KIT_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "kcm_rx.h"

#define KIT_FRAME "len off=0 width=4 be hdr=64 max=65M"
#define KIT_HEAD  64U
#define KIT_PAGE  4096U
#define KIT_MSS	  4108 /* a page, and TCP's timestamps */

struct kit_head {
	uint32_t body_be;
	uint32_t pad;
	uint64_t number;
	uint64_t seed;
	uint8_t rest[40];
};

_Static_assert(sizeof(struct kit_head) == KIT_HEAD, "on the wire");

static inline void kit_die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

static inline uint64_t kit_word(uint64_t seed, uint64_t i)
{
	uint64_t x = seed + (i + 1) * 0x9e3779b97f4a7c15ULL;

	return x ^ x >> 29;
}

static inline uint64_t kit_random(uint64_t *state)
{
	uint64_t x = *state += 0x9e3779b97f4a7c15ULL;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
	return x ^ x >> 31;
}

/* Between @min and @max, each order of magnitude as often as the others. */
static inline uint64_t kit_size(uint64_t *state, uint64_t min, uint64_t max)
{
	unsigned int bits = 64 - (unsigned int)__builtin_clzll(max | 1);
	uint64_t top = 1ULL << (kit_random(state) % (bits + 1)), n = kit_random(state) % (top + 1);

	/* Whole pages are what matters most here: have them often. */
	if (kit_random(state) % 3 == 0)
		n &= ~(uint64_t)(KIT_PAGE - 1);
	return n < min ? min : n > max ? max : n;
}

/* Bytes [@off, @off + @n) of a body. */
static inline void kit_fill(uint8_t *to, uint64_t seed, uint64_t off, size_t n)
{
	for (size_t i = 0; i < n;) {
		uint64_t w = kit_word(seed, (off + i) / 8);
		size_t skip = (off + i) % 8, k = 8 - skip < n - i ? 8 - skip : n - i;

		memcpy(to + i, (uint8_t *)&w + skip, k);
		i += k;
	}
}

static inline bool kit_same(const uint8_t *p, uint64_t seed, uint64_t off, size_t n)
{
	size_t i = 0;

	while (i < n) {
		uint64_t w = kit_word(seed, (off + i) / 8), v;
		size_t skip = (off + i) % 8, k = 8 - skip < n - i ? 8 - skip : n - i;

		if (k == 8) {
			memcpy(&v, p + i, 8);
			if (v != w)
				return false;
		} else if (memcmp(p + i, (uint8_t *)&w + skip, k)) {
			return false;
		}
		i += k;
	}
	return true;
}

static inline void kit_head(struct kit_head *h, uint64_t number, uint64_t seed, uint32_t body)
{
	memset(h, 0x5a, sizeof(*h));
	h->body_be = htonl(body);
	h->number = number;
	h->seed = seed;
}

/* Is it message @number, all of it? Says on stderr what is wrong. */
static inline bool kit_check(const struct kcm_rx_msg *m, uint64_t number)
{
	struct kit_head h = { 0 }, want;
	uint64_t off = 0, pos = 0, total = 0;

	for (unsigned int i = 0; i < m->iovcnt && pos < KIT_HEAD; i++) {
		size_t n = m->iov[i].iov_len < KIT_HEAD - pos ? m->iov[i].iov_len : KIT_HEAD - pos;

		memcpy((uint8_t *)&h + pos, m->iov[i].iov_base, n);
		pos += n;
	}
	kit_head(&want, number, h.seed, (uint32_t)m->len - KIT_HEAD);
	if (pos < KIT_HEAD || memcmp(&h, &want, sizeof(h))) {
		fprintf(stderr, "message %llu: header of %llu with %u bytes, %zu came\n",
			(unsigned long long)number, (unsigned long long)h.number, ntohl(h.body_be),
			m->len);
		return false;
	}
	for (unsigned int i = 0; i < m->iovcnt; i++) {
		const uint8_t *p = m->iov[i].iov_base;
		size_t n = m->iov[i].iov_len, skip = total < KIT_HEAD ? KIT_HEAD - total : 0;

		total += n;
		if (skip >= n)
			continue;
		if (!kit_same(p + skip, h.seed, off, n - skip)) {
			fprintf(stderr, "message %llu of %zu bytes: piece %u of %u is wrong\n",
				(unsigned long long)number, m->len, i, m->iovcnt);
			return false;
		}
		off += n - skip;
	}
	if (total != m->len)
		fprintf(stderr, "message %llu: pieces of %llu bytes, not %zu\n",
			(unsigned long long)number, (unsigned long long)total, m->len);
	return total == m->len;
}

/* ---- senders ---- */
enum kit_how {
	KIT_PLAIN,  /* send() */
	KIT_CUT,    /* send() in pieces of random size */
	KIT_PAGES,  /* body in pages of its own, as MSG_ZEROCOPY or a NIC that splits headers gives
		     */
	KIT_RAGGED, /* the same, with a gap now and then */
	KIT_HOWS,
};

static inline void kit_send(int fd, const void *p, size_t n, int flags)
{
	while (n) {
		ssize_t r = send(fd, p, n, flags | MSG_NOSIGNAL);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			kit_die("send");
		p = (const uint8_t *)p + r;
		n -= (size_t)r;
	}
}

struct kit_sender {
	int fd, pipe[2];
	size_t pipe_bytes;
	enum kit_how how;
	uint64_t random;
	uint8_t *buf; /* one body */
	size_t buf_bytes;
};

static inline void kit_sender_open(struct kit_sender *s, int fd, enum kit_how how, uint64_t seed)
{
	memset(s, 0, sizeof(*s));
	s->fd = fd;
	s->how = how;
	s->random = seed;
	if (pipe2(s->pipe, O_CLOEXEC))
		kit_die("pipe");
	s->pipe_bytes = (size_t)fcntl(s->pipe[1], F_SETPIPE_SZ, 256 * KIT_PAGE);
	if ((ssize_t)s->pipe_bytes < 0)
		kit_die("F_SETPIPE_SZ");
}

static inline void kit_sender_close(struct kit_sender *s)
{
	close(s->pipe[0]);
	close(s->pipe[1]);
	free(s->buf);
}

/* Whole pages go through a pipe, which has pages of its own, and as they are into the socket. */
static inline void kit_send_pages(struct kit_sender *s, const uint8_t *p, size_t n)
{
	while (n) {
		size_t part = n < s->pipe_bytes ? n : s->pipe_bytes;

		for (size_t put = 0; put < part; put += KIT_PAGE)
			if (write(s->pipe[1], p + put, KIT_PAGE) != (ssize_t)KIT_PAGE)
				kit_die("write to pipe");
		for (size_t left = part; left;) {
			ssize_t r = splice(s->pipe[0], NULL, s->fd, NULL, left,
					   n > part ? SPLICE_F_MORE : 0);

			if (r <= 0)
				kit_die("splice");
			left -= (size_t)r;
		}
		p += part;
		n -= part;
	}
}

static inline void kit_send_body(struct kit_sender *s, const uint8_t *p, size_t n)
{
	size_t pages = n & ~(size_t)(KIT_PAGE - 1);

	switch (s->how) {
	case KIT_CUT:
		while (n) {
			size_t part = kit_size(&s->random, 1, n);

			kit_send(s->fd, p, part, 0);
			p += part;
			n -= part;
		}
		return;
	case KIT_RAGGED:
		while (n >= KIT_PAGE) {
			size_t part = kit_size(&s->random, KIT_PAGE, n), gap;

			part &= ~(size_t)(KIT_PAGE - 1);
			kit_send_pages(s, p, part);
			gap = kit_random(&s->random) % 3 ? 0 : kit_size(&s->random, 1, 9000);
			gap = gap < n - part ? gap : n - part;
			kit_send(s->fd, p + part, gap, MSG_EOR);
			p += part + gap;
			n -= part + gap;
		}
		kit_send(s->fd, p, n, MSG_EOR);
		return;
	case KIT_PAGES:
		kit_send_pages(s, p, pages);
		kit_send(s->fd, p + pages, n - pages, MSG_EOR);
		return;
	default:
		kit_send(s->fd, p, n, 0);
	}
}

static inline void kit_send_msg(struct kit_sender *s, uint64_t number, size_t body)
{
	uint64_t seed = kit_random(&s->random);
	struct kit_head h;

	if (s->buf_bytes < body) {
		free(s->buf);
		s->buf_bytes = body;
		if (posix_memalign((void **)&s->buf, KIT_PAGE, body + KIT_PAGE))
			kit_die("memory");
	}
	kit_fill(s->buf, seed, 0, body);
	kit_head(&h, number, seed, (uint32_t)body);
	/* MSG_EOR: the body begins in an skb of its own. */
	kit_send(s->fd, &h, sizeof(h), s->how == KIT_PLAIN ? MSG_MORE : MSG_EOR);
	kit_send_body(s, s->buf, body);
}

/* ---- sockets ---- */
static inline int kit_listen(int family, int mss, uint16_t *port)
{
	struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_addr = in6addr_loopback };
	struct sockaddr_in four = { .sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr *sa = family == AF_INET6 ? (void *)&six : (void *)&four;
	socklen_t len = family == AF_INET6 ? sizeof(six) : sizeof(four);
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		kit_die("socket");
	/* Inherited by what is accepted, and told to the peer: whole pages in each segment. */
	if (mss && setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &mss, sizeof(mss)))
		kit_die("TCP_MAXSEG");
	if (bind(fd, sa, len) || listen(fd, 64) || getsockname(fd, sa, &len))
		kit_die("listen");
	*port = ntohs(family == AF_INET6 ? six.sin6_port : four.sin_port);
	return fd;
}

/* A connected pair over loopback: [0] receives. */
static inline void kit_pair(int family, int mss, int fd[2])
{
	struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_addr = in6addr_loopback };
	struct sockaddr_in four = { .sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr *sa = family == AF_INET6 ? (void *)&six : (void *)&four;
	socklen_t len = family == AF_INET6 ? sizeof(six) : sizeof(four);
	uint16_t port;
	int l = kit_listen(family, mss, &port), one = 1;

	six.sin6_port = four.sin_port = htons(port);
	fd[1] = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd[1] < 0 || connect(fd[1], sa, len))
		kit_die("connect");
	fd[0] = accept4(l, NULL, NULL, SOCK_CLOEXEC);
	if (fd[0] < 0)
		kit_die("accept");
	setsockopt(fd[1], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	close(l);
}

#endif
