// SPDX-License-Identifier: GPL-2.0
/* Clients of `mux bench`: pipelined requests over loopback. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include "cmd_mux_bench.h"
#include "lib/queue.h"
#include "util.h"

#define BLOCK_BYTES 65536

struct load_conn {
	int fd;
	uint64_t sent_bytes, got_bytes;
};

static int dial(const struct load *l)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_port = htons((uint16_t)l->port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	_cleanup_fd_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int one = 1;

	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)))
		return -errno;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (fcntl(fd, F_SETFL, O_NONBLOCK))
		return -errno;
	return TAKE_FD(fd);
}

static uint64_t sendable(const struct load *l, const struct load_conn *c)
{
	uint64_t answered = c->got_bytes / LOAD_REPLY_BYTES;

	return (answered + l->depth) * l->size - c->sent_bytes;
}

/* Return: false when the connection is gone. */
static bool push(const struct load *l, struct load_conn *c, const uint8_t *block, size_t bytes)
{
	uint64_t left = sendable(l, c);

	while (left) {
		size_t at = (size_t)(c->sent_bytes % l->size), n = bytes - at;
		ssize_t r;

		/* The block is whole messages: any message may be followed by its start. */
		if (n > left)
			n = (size_t)left;
		r = send(c->fd, block + at, n, MSG_NOSIGNAL);
		if (r < 0)
			return errno == EAGAIN;
		c->sent_bytes += (uint64_t)r;
		left -= (uint64_t)r;
	}
	return true;
}

static bool pull(struct load_conn *c)
{
	uint8_t buf[16384];

	for (;;) {
		ssize_t r = recv(c->fd, buf, sizeof(buf), 0);

		if (r < 0)
			return errno == EAGAIN;
		if (!r)
			return false;
		c->got_bytes += (uint64_t)r;
		if ((size_t)r < sizeof(buf))
			return true;
	}
}

static void reset(struct load *l, struct load_conn *c)
{
	l->resets++;
	l->answered += c->got_bytes / LOAD_REPLY_BYTES;
	close(c->fd);
	*c = (struct load_conn){ .fd = dial(l) };
	if (c->fd < 0)
		l->err = c->fd;
}

static uint8_t *make_block(const struct load *l, size_t *bytes)
{
	size_t n = l->size >= BLOCK_BYTES ? 1 : BLOCK_BYTES / l->size;
	uint32_t head = htonl(l->size - 4);
	uint8_t *block = calloc(n, l->size);

	for (size_t i = 0; block && i < n; i++)
		memcpy(block + i * l->size, &head, 4);
	*bytes = n * l->size;
	return block;
}

static void exchange(struct load *l, struct load_conn *c, struct pollfd *p, const uint8_t *block,
		     size_t bytes)
{
	uint64_t start = now_ns(), end = start + l->duration_ns;

	while (now_ns() < end && !l->err) {
		for (unsigned int i = 0; i < l->conns; i++) {
			p[i].fd = c[i].fd;
			p[i].events = sendable(l, &c[i]) ? POLLIN | POLLOUT : POLLIN;
		}
		if (poll(p, l->conns, 50) <= 0)
			continue;
		for (unsigned int i = 0; i < l->conns && !l->err; i++) {
			if (!p[i].revents)
				continue;
			if (!pull(&c[i]) || !push(l, &c[i], block, bytes))
				reset(l, &c[i]);
		}
	}
	l->elapsed_ns = now_ns() - start;
}

void *load_thread(void *arg)
{
	struct load *l = arg;
	struct load_conn *c = calloc(l->conns, sizeof(*c));
	struct pollfd *p = calloc(l->conns, sizeof(*p));
	size_t bytes;
	uint8_t *block = make_block(l, &bytes);
	unsigned int n = 0;

	if (!c || !p || !block)
		l->err = -ENOMEM;
	for (; !l->err && n < l->conns; n++) {
		c[n].fd = dial(l);
		if (c[n].fd < 0) {
			l->err = c[n].fd;
			break;
		}
	}
	if (!l->err)
		exchange(l, c, p, block, bytes);
	for (unsigned int i = 0; i < n; i++) {
		l->answered += c[i].got_bytes / LOAD_REPLY_BYTES;
		if (c[i].fd >= 0)
			close(c[i].fd);
	}
	free(c);
	free(p);
	free(block);
	return NULL;
}
