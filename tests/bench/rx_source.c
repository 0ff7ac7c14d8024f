// SPDX-License-Identifier: GPL-2.0
/* rx_source.c - senders of the rx benchmark. */
#include "rx_bench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/errqueue.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const char *const names[RXB_SOURCES] = { "pages", "zerocopy", "send", "stream" };

const char *rxb_source_name(enum rxb_source s)
{
	return names[s];
}

static void all(int fd, const void *p, size_t n, int flags)
{
	while (n) {
		ssize_t r = send(fd, p, n, flags | MSG_NOSIGNAL);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0 && errno == ENOBUFS) { /* too many completions wait */
			usleep(100);
			continue;
		}
		if (r < 0)
			_exit(0); /* the reader had enough */
		p = (const uint8_t *)p + r;
		n -= (size_t)r;
	}
}

/* ---- pages ---- */
struct pool {
	int pipe[RXB_POOL][2], out[2];
	unsigned int next;
};

static void pool_open(struct pool *p)
{
	uint8_t *page = malloc(RXB_PIPE);

	for (unsigned int i = 0; i < RXB_POOL + 1; i++) {
		int *at = i < RXB_POOL ? p->pipe[i] : p->out;

		if (pipe2(at, O_CLOEXEC) || fcntl(at[1], F_SETPIPE_SZ, RXB_PIPE) < (int)RXB_PIPE)
			_exit(2);
		memset(page, (int)i, RXB_PIPE);
		for (unsigned int n = 0; i < RXB_POOL && n < RXB_PIPE; n += 4096)
			if (write(at[1], page + n, 4096) != 4096)
				_exit(2);
	}
	free(page);
}

static void pool_send(struct pool *p, int fd, size_t n)
{
	while (n) {
		size_t want = n < RXB_PIPE ? n : RXB_PIPE;
		ssize_t r = tee(p->pipe[p->next++ % RXB_POOL][0], p->out[1], want, 0);

		if (r <= 0)
			_exit(2);
		n -= (size_t)r;
		while (r > 0) {
			ssize_t w =
				splice(p->out[0], NULL, fd, NULL, (size_t)r, n ? SPLICE_F_MORE : 0);

			if (w <= 0)
				_exit(0);
			r -= w;
		}
	}
}

/* ---- MSG_ZEROCOPY ---- */
static void reap(int fd)
{
	char control[128];
	struct msghdr h = { .msg_control = control, .msg_controllen = sizeof(control) };

	while (recvmsg(fd, &h, MSG_ERRQUEUE | MSG_DONTWAIT) >= 0)
		h.msg_controllen = sizeof(control);
}

void rxb_send(int fd, const struct rxb_case *c, uint64_t total)
{
	uint8_t head[RXB_HEAD] = { 0 }, *buf = NULL;
	uint32_t be = htonl((uint32_t)c->payload);
	struct pool pool = { .next = 0 };
	size_t at = 0, room = (size_t)RXB_POOL * RXB_PIPE;
	int one = 1, nodelay = c->source != RXB_STREAM;

	memcpy(head, &be, sizeof(be));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &nodelay, sizeof(nodelay));
	if (c->source == RXB_PAGES) {
		pool_open(&pool);
	} else {
		buf = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		memset(buf, 1, room);
		if (c->source != RXB_SEND)
			setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &one, sizeof(one));
	}
	for (uint64_t sent = 0; sent < total; sent += c->payload) {
		/* MSG_EOR: what follows begins in an skb of its own. */
		if (c->source != RXB_STREAM)
			all(fd, head, sizeof(head), c->source == RXB_SEND ? MSG_MORE : MSG_EOR);
		if (at + c->payload > room)
			at = 0;
		switch (c->source) {
		case RXB_PAGES:
			pool_send(&pool, fd, c->payload);
			break;
		case RXB_ZEROCOPY:
		case RXB_STREAM:
			all(fd, buf + at, c->payload, MSG_ZEROCOPY);
			reap(fd);
			break;
		default:
			all(fd, buf + at, c->payload, 0);
		}
		at += c->payload;
	}
	shutdown(fd, SHUT_WR);
	/* Pages are in use until they were received. */
	while (recv(fd, head, sizeof(head), 0) > 0)
		;
	_exit(0);
}
