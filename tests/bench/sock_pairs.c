// SPDX-License-Identifier: GPL-2.0
/* sock_pairs.c - very many TCP connections over loopback, both ends ours. */
#include "sock_pairs.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench.h"
#include "sock_herd.h"

#define FILES_A_PAIR 2
#define BACKLOG	     16

struct sb_pairs {
	struct sb_herd *herd;
	int (*fn)(int fd, void *arg);
	void *arg;
	int *peer; /* descriptor of the accepted end, in the thread of its other end */
};

/* Each thread has descriptors, and so a listener, of its own. */
static _Thread_local int listener = -1;
static _Thread_local struct sockaddr_in there;

static int listener_open(void)
{
	socklen_t len = sizeof(there);

	there = (struct sockaddr_in){ .sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listener < 0 || bind(listener, (struct sockaddr *)&there, sizeof(there)) ||
	    listen(listener, BACKLOG) || getsockname(listener, (struct sockaddr *)&there, &len))
		return -errno;
	return 0;
}

static int pair_open(int *fd, size_t i, void *arg)
{
	struct sb_pairs *p = arg;
	int err = listener < 0 ? listener_open() : 0;

	if (err)
		return err;
	*fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (*fd < 0 || connect(*fd, (struct sockaddr *)&there, sizeof(there)))
		return -errno;
	p->peer[i] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	return p->peer[i] < 0 ? -errno : 0;
}

/* Resets: no TIME_WAIT is left to the next round. */
static int pair_close(int *fd, size_t i, void *arg)
{
	struct linger now = { .l_onoff = 1 };
	struct sb_pairs *p = arg;

	if (*fd >= 0) {
		setsockopt(*fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
		close(*fd);
	}
	if (p->peer[i] >= 0)
		close(p->peer[i]);
	*fd = p->peer[i] = -1;
	return 0;
}

struct sb_pairs *sb_pairs_make(size_t n)
{
	struct sb_pairs *p = calloc(1, sizeof(*p));
	int err = ENOMEM;

	if (!p)
		return NULL;
	p->peer = malloc(n * sizeof(*p->peer));
	p->herd = sb_herd_make(n, FILES_A_PAIR, false);
	if (p->peer && p->herd) {
		for (size_t i = 0; i < n; i++)
			p->peer[i] = -1;
		err = -sb_herd_each(p->herd, pair_open, p);
	}
	if (!err)
		return p;
	sb_pairs_free(p);
	errno = err;
	return NULL;
}

static int both(int *fd, size_t i, void *arg)
{
	struct sb_pairs *p = arg;
	int err = p->fn(*fd, p->arg);

	return err ? err : p->fn(p->peer[i], p->arg);
}

int sb_pairs_each(struct sb_pairs *p, int (*fn)(int fd, void *arg), void *arg)
{
	p->fn = fn;
	p->arg = arg;
	return sb_herd_each(p->herd, both, p);
}

void sb_pairs_free(struct sb_pairs *p)
{
	if (!p)
		return;
	if (p->herd && p->peer)
		sb_herd_each(p->herd, pair_close, p);
	sb_herd_free(p->herd);
	free(p->peer);
	free(p);
}
