// SPDX-License-Identifier: GPL-2.0
/*
 * kcm_flood.c - clients that only send. All messages are alike, so where a connection is in its
 * stream says what comes next.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kcm_bench.h"
#include "msg.h"

struct bench_shared *kb_shared(void)
{
	struct bench_shared *sh =
		mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return sh == MAP_FAILED ? NULL : sh;
}

static int fill(struct kb_flood *f)
{
	struct bench_msg m = { .len_be = htonl(f->size - BENCH_PREFIX) };

	f->data = malloc((size_t)(f->burst + 1) * f->size);
	if (!f->data)
		return -ENOMEM;
	for (uint32_t i = BENCH_HDR; i < f->size; i++)
		f->data[i] = (uint8_t)(i * 7 + 1);
	m.sum = bench_sum(f->data + BENCH_HDR, f->size - BENCH_HDR);
	memcpy(f->data, &m, sizeof(m));
	for (uint32_t i = 1; i <= f->burst; i++)
		memcpy(f->data + (size_t)i * f->size, f->data, f->size);
	return 0;
}

int kb_flood_open(struct kb_flood *f, const struct bench_opts *o, uint32_t burst)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_port = htons(o->port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int err;

	*f = (struct kb_flood){ .size = o->size, .burst = burst };
	err = fill(f);
	for (uint32_t i = 0; i < KB_CONNS && !err; i++) {
		f->fd[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (f->fd[i] < 0)
			return -errno;
		bench_socket_options(f->fd[i]);
		if (connect(f->fd[i], (struct sockaddr *)&a, sizeof(a)) ||
		    fcntl(f->fd[i], F_SETFL, O_NONBLOCK))
			err = -errno;
	}
	return err;
}

void kb_flood_close(struct kb_flood *f)
{
	for (uint32_t i = 0; i < KB_CONNS; i++)
		if (f->fd[i] > 0)
			close(f->fd[i]);
	free(f->data);
}

/* As many bytes as @burst messages have, from where the connection is: it ends where one does. */
ssize_t kb_flood_send(struct kb_flood *f)
{
	uint32_t i = f->next, at = (uint32_t)(f->sent[i] % f->size);
	ssize_t n = send(f->fd[i], f->data + at,
			 (size_t)f->burst * f->size + (at ? f->size : 0) - at, MSG_NOSIGNAL);

	f->next = (i + 1) % KB_CONNS;
	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	f->sent[i] += (uint64_t)n;
	return n;
}

uint64_t kb_flood_msgs(const struct kb_flood *f)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < KB_CONNS; i++)
		n += f->sent[i] / f->size;
	return n;
}

uint64_t kb_flood_bytes(const struct kb_flood *f)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < KB_CONNS; i++)
		n += f->sent[i];
	return n;
}
