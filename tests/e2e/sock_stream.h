/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sock_stream.h - a stream of messages that is known in advance: the same seed makes the same
 * bytes at both ends, so that each end can say how many whole messages so many bytes are. And the
 * many ways to write it.
 */
#ifndef SOCK_STREAM_H
#define SOCK_STREAM_H

#include <fcntl.h>
#include <linux/errqueue.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

#include "sock_kit.h"

#define STREAM_PIECE (64 << 10)

#ifndef MSG_ZEROCOPY
#define MSG_ZEROCOPY 0x4000000
#endif
#ifndef SO_ZEROCOPY
#define SO_ZEROCOPY 60
#endif

enum stream_frame { FRAME_U32BE, FRAME_VARINT, FRAME_CRLF, FRAME_RESP, FRAMES };

static const char *const stream_frame_names[FRAMES] = { "u32be", "varint", "crlf", "resp" };

struct stream {
	enum stream_frame frame;
	uint32_t max_bytes;   /* of a body */
	uint64_t bytes, msgs; /* that were taken */
	struct rng rng;
	uint32_t head_bytes, body_bytes, tail_bytes, at; /* the message that is begun, or none */
	char head[32];
	char fill;
};

static inline void stream_init(struct stream *s, enum stream_frame frame, uint32_t max_bytes,
			       uint64_t seed)
{
	memset(s, 0, sizeof(*s));
	s->frame = frame;
	s->max_bytes = max_bytes;
	s->rng.s = seed;
}

static inline uint32_t stream_body(struct stream *s)
{
	static const uint32_t of[8] = { 8, 8, 8, 8, 64, 300, 4096, UINT32_MAX };
	uint32_t kind = rng_below(&s->rng, 256), max;

	/* Most are tiny, one in a hundred or so is of any size. */
	max = kind < 253 ? of[kind % 7] : of[7];
	if (max > s->max_bytes)
		max = s->max_bytes;
	return rng_below(&s->rng, max + 1);
}

static inline void stream_begin(struct stream *s)
{
	uint32_t n = stream_body(s), v = n;
	uint8_t *h = (uint8_t *)s->head;

	s->body_bytes = n;
	s->tail_bytes = s->frame >= FRAME_CRLF ? 2 : 0;
	s->fill = 'a' + n % 26;
	s->head_bytes = 0;
	switch (s->frame) {
	case FRAME_U32BE:
		for (int i = 0; i < 4; i++)
			h[s->head_bytes++] = n >> (24 - 8 * i);
		break;
	case FRAME_VARINT:
		do {
			h[s->head_bytes++] = (v & 127) | (v > 127 ? 128 : 0);
			v >>= 7;
		} while (v);
		break;
	case FRAME_RESP:
		s->head_bytes = sprintf(s->head, "*1\r\n$%u\r\n", n);
		break;
	default:
		break;
	}
}

static inline uint32_t stream_left(const struct stream *s)
{
	return s->head_bytes + s->body_bytes + s->tail_bytes - s->at;
}

static inline uint32_t copy_part(char *to, uint32_t room, uint32_t at, uint32_t from,
				 const char *part, uint32_t bytes, char fill)
{
	uint32_t n;

	if (at < from || at - from >= bytes)
		return 0;
	n = bytes - (at - from);
	if (n > room)
		n = room;
	if (part)
		memcpy(to, part + (at - from), n);
	else
		memset(to, fill, n);
	return n;
}

/* The next @n bytes at most, no message begun after @msgs of them. Return: how many. */
static inline uint32_t stream_take(struct stream *s, char *to, uint32_t n, uint64_t msgs)
{
	uint32_t done = 0;

	while (done < n) {
		uint32_t got;

		if (!s->at) {
			if (s->msgs == msgs)
				break;
			stream_begin(s);
		}
		got = copy_part(to + done, n - done, s->at, 0, s->head, s->head_bytes, 0);
		if (!got)
			got = copy_part(to + done, n - done, s->at, s->head_bytes, NULL,
					s->body_bytes, s->fill);
		if (!got)
			got = copy_part(to + done, n - done, s->at, s->head_bytes + s->body_bytes,
					"\r\n", s->tail_bytes, 0);
		done += got;
		s->at += got;
		if (!stream_left(s)) {
			s->at = 0;
			s->msgs++;
		}
	}
	s->bytes += done;
	return done;
}

/* Go on by @n bytes. */
static inline void stream_skip(struct stream *s, uint64_t n)
{
	char buf[4096];

	while (n)
		n -= stream_take(s, buf, n < sizeof(buf) ? n : sizeof(buf), UINT64_MAX);
}

/* Whole messages in the first @bytes of the stream that @first is the start of. */
static inline uint64_t stream_count(const struct stream *first, uint64_t bytes)
{
	struct stream s = *first;
	uint64_t at = 0;

	for (;;) {
		stream_begin(&s);
		at += stream_left(&s);
		if (at > bytes)
			return s.msgs;
		s.msgs++;
	}
}

/* ---- ways to write ---- */

struct writer {
	int fd;
	struct rng rng;
	bool zerocopy, no_files;
	int pipe[2], file;
	off_t file_at;
	bool corked;
	uint32_t zc_sent, zc_done;
};

static inline void writer_init(struct writer *w, int fd, uint64_t seed)
{
	int one = 1;

	memset(w, 0, sizeof(*w));
	w->fd = fd;
	w->rng.s = seed;
	w->pipe[0] = w->pipe[1] = w->file = -1;
	w->zerocopy = !setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &one, sizeof(one));
}

static inline void writer_end(struct writer *w)
{
	int off = 0;

	if (w->corked)
		setsockopt(w->fd, IPPROTO_TCP, TCP_CORK, &off, sizeof(off));
	if (w->pipe[0] >= 0) {
		close(w->pipe[0]);
		close(w->pipe[1]);
	}
	if (w->file >= 0)
		close(w->file);
}

/* The kernel may use the buffer until it says so. */
static inline int zerocopy_wait(struct writer *w)
{
	while (w->zc_done != w->zc_sent) {
		struct pollfd p = { .fd = w->fd };
		char control[128];
		struct msghdr m = { .msg_control = control, .msg_controllen = sizeof(control) };
		struct cmsghdr *c;

		/* With a small window it may take many probes of TCP. */
		if (!poll(&p, 1, 100000))
			errno = ETIMEDOUT;
		if (!p.revents)
			return -1;
		if (recvmsg(w->fd, &m, MSG_ERRQUEUE) < 0) {
			if (errno == EAGAIN && (p.revents & (POLLERR | POLLHUP)))
				kit_sleep_us(100);
			else if (errno != EAGAIN)
				return -1;
			continue;
		}
		for (c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
			struct sock_extended_err *e = (void *)CMSG_DATA(c);

			if (e->ee_origin == SO_EE_ORIGIN_ZEROCOPY)
				w->zc_done += e->ee_data - e->ee_info + 1;
		}
	}
	return 0;
}

static inline ssize_t write_file(struct writer *w, const char *p, size_t n)
{
	off_t at;

	/* Pages in flight are not copied: nothing is written over. */
	if (w->file >= 0 && w->file_at > 4 << 20) {
		close(w->file);
		w->file = -1;
	}
	if (w->file < 0) {
		w->file = must(memfd_create("kcm_test", MFD_CLOEXEC));
		w->file_at = 0;
	}
	must(pwrite(w->file, p, n, w->file_at));
	at = w->file_at;
	w->file_at += n;
	return sendfile(w->fd, w->file, &at, n);
}

static inline ssize_t write_spliced(struct writer *w, const char *p, size_t n)
{
	size_t done = 0;

	if (w->pipe[0] < 0)
		must(pipe2(w->pipe, O_CLOEXEC));
	if (n > 32768)
		n = 32768;
	must(write(w->pipe[1], p, n));
	while (done < n) {
		ssize_t r = splice(w->pipe[0], NULL, w->fd, NULL, n - done, 0);

		if (r <= 0)
			return -1;
		done += r;
	}
	return n;
}

static inline ssize_t write_vector(struct writer *w, const char *p, size_t n, int flags)
{
	struct iovec v[8];
	struct msghdr m = { .msg_iov = v };

	for (size_t at = 0; at < n && m.msg_iovlen < 8;) {
		size_t part = rng_log(&w->rng, 14);

		if (part > n - at)
			part = n - at;
		v[m.msg_iovlen++] = (struct iovec){ (char *)p + at, part };
		at += part;
	}
	return sendmsg(w->fd, &m, flags);
}

static inline void writer_option(struct writer *w, int option)
{
	int on = rng_below(&w->rng, 2);

	setsockopt(w->fd, IPPROTO_TCP, option, &on, sizeof(on));
	if (option == TCP_CORK)
		w->corked = on;
}

/* Write @n bytes at most, somehow. The buffer may change afterwards. */
static inline ssize_t writer_some(struct writer *w, const char *p, size_t n)
{
	uint32_t size = rng_log(&w->rng, 16), how = rng_below(&w->rng, 32);
	ssize_t r;

	if (size < n)
		n = size;
	switch (how) {
	case 0:
		writer_option(w, TCP_NODELAY);
		break;
	case 1:
		writer_option(w, TCP_CORK);
		break;
	case 2 ... 5:
		return send(w->fd, p, n, MSG_MORE | MSG_NOSIGNAL);
	case 6 ... 11:
		return write_vector(w, p, n, MSG_NOSIGNAL | (how == 11 ? MSG_MORE : 0));
	case 12 ... 13:
		if (n > 64)
			return write_file(w, p, n);
		break;
	case 14 ... 15:
		if (n > 64)
			return write_spliced(w, p, n);
		break;
	case 16:
		if (!w->zerocopy || n < 512)
			break;
		r = send(w->fd, p, n, MSG_ZEROCOPY | MSG_NOSIGNAL);
		if (r < 0)
			return errno == ENOBUFS ? 0 : r;
		w->zc_sent++;
		return zerocopy_wait(w) ? -1 : r;
	}
	return send(w->fd, p, n, MSG_NOSIGNAL);
}

#endif
