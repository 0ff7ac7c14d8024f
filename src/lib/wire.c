// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
#define _GNU_SOURCE
#include <errno.h>
#include <linux/bpf.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "queue.h"
#include "wire.h"

int wire_tune(int fd)
{
	int bytes = 1 << 20;

	/* As much as is allowed: hand-overs of big replies must not ping-pong. */
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	return 0;
}

int wire_pair(int sv[2])
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv))
		return -errno;
	wire_tune(sv[0]);
	wire_tune(sv[1]);
	return 0;
}

int wire_send(int fd, const struct wire_rec *rec, const void *data, size_t len, const int *fds,
	      int n, int flags)
{
	union {
		char buf[CMSG_SPACE(sizeof(int) * WIRE_FDS_MAX)];
		struct cmsghdr align;
	} u;
	struct iovec iov[2] = {
		{ .iov_base = (void *)rec, .iov_len = sizeof(*rec) },
		{ .iov_base = (void *)data, .iov_len = len },
	};
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = len ? 2 : 1 };

	if (n) {
		struct cmsghdr *c;

		m.msg_control = u.buf;
		m.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)n);
		memset(u.buf, 0, m.msg_controllen);
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)n);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * (size_t)n);
	}
	while (sendmsg(fd, &m, MSG_NOSIGNAL | flags) < 0) {
		if (errno == EINTR)
			continue;
		return errno == ECONNRESET ? -EPIPE : -errno;
	}
	return 0;
}

int wire_recv(int fd, struct wire_rec *rec, void *data, size_t *len, int *fds, int *n, int flags)
{
	union {
		char buf[CMSG_SPACE(sizeof(int) * WIRE_FDS_MAX)];
		struct cmsghdr align;
	} u;
	struct iovec iov[2] = {
		{ .iov_base = rec, .iov_len = sizeof(*rec) },
		{ .iov_base = data, .iov_len = data ? *len : 0 },
	};
	struct msghdr m = { .msg_iov = iov,
			    .msg_iovlen = data ? 2 : 1,
			    .msg_control = u.buf,
			    .msg_controllen = sizeof(u.buf) };
	int room = n ? *n : 0, got = 0;
	struct cmsghdr *c;
	ssize_t r;

	do {
		r = recvmsg(fd, &m, MSG_CMSG_CLOEXEC | flags);
	} while (r < 0 && errno == EINTR);
	if (r < 0)
		return errno == ECONNRESET ? -EPIPE : -errno;
	for (c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
		size_t cnt = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		int tmp[WIRE_FDS_MAX];

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS || cnt > WIRE_FDS_MAX)
			continue;
		memcpy(tmp, CMSG_DATA(c), cnt * sizeof(int));
		for (size_t i = 0; i < cnt; i++) {
			if (got < room)
				fds[got++] = tmp[i];
			else
				close(tmp[i]);
		}
	}
	if (n)
		*n = got;
	if (!r)
		return -EPIPE;
	if ((size_t)r < sizeof(*rec) || (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
		return -EPROTO;
	if (len)
		*len = (size_t)r - sizeof(*rec);
	return 0;
}

/* Layout of a BPF ring buffer: consumer page, producer page, data mapped twice in a row. */
int bell_map(struct bell *b, int fd, size_t bytes)
{
	long page = sysconf(_SC_PAGESIZE);
	void *p;

	b->fd = fd;
	b->bytes = bytes;
	p = mmap(NULL, (size_t)page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	b->cons = p;
	p = mmap(NULL, (size_t)page + 2 * bytes, PROT_READ, MAP_SHARED, fd, page);
	if (p == MAP_FAILED) {
		int err = -errno;

		munmap(b->cons, (size_t)page);
		b->cons = NULL;
		return err;
	}
	b->prod = p;
	b->data = (const uint8_t *)p + page;
	return 0;
}

void bell_unmap(struct bell *b)
{
	long page = sysconf(_SC_PAGESIZE);

	if (!b->cons)
		return;
	munmap(b->cons, (size_t)page);
	munmap((void *)b->prod, (size_t)page + 2 * b->bytes);
	b->cons = NULL;
}

bool bell_next(struct bell *b, struct kcm_bell_rec *rec)
{
	for (;;) {
		uint64_t cons = LOAD(b->cons);
		const uint32_t *hdr;
		uint32_t len;

		if (cons >= LOAD(b->prod))
			return false;
		hdr = (const uint32_t *)(b->data + (cons & (b->bytes - 1)));
		len = LOAD(hdr);
		if (len & BPF_RINGBUF_BUSY_BIT)
			return false;
		if (!(len & BPF_RINGBUF_DISCARD_BIT))
			memcpy(rec, hdr + 2, sizeof(*rec));
		len = ((len & ~BPF_RINGBUF_DISCARD_BIT) + BPF_RINGBUF_HDR_SZ + 7) & ~7U;
		STORE(b->cons, cons + len);
		return true;
	}
}
